"""Following whole topics on a real broker."""

from __future__ import annotations

import pytest
from confluent_kafka import TopicPartition

import consumers.timeline_tail
from backends.kafka.clients import admin_client, create_topics
from consumers.timeline_tail import TailRecord, TimelineTail, ends, last_records, oldest_offsets
from schemas.errors import ConfigurationError, Stalled, Trimmed
from schemas.number_types import Offset
from schemas.records import MessageSent
from schemas.settings import Settings
from schemas.topics import Topic
from tests.conftest import Servers
from tests.support.processes import wait_until
from tests.support.sync_writer import SyncWriter, entry

pytestmark = pytest.mark.servers

PATIENCE = 180.0
USERS = ["ann", "bob", "陈", "|QuaD-"]


@pytest.fixture
def settings(servers: Servers) -> Settings:
    """A deployment in its own namespace."""
    settings = servers.settings(partitions=1, sync_partitions=3)
    create_topics(settings)
    return settings


def read_to(
    settings: Settings, start: dict[int, Offset], end: dict[int, Offset]
) -> list[TailRecord]:
    """All records between two positions."""
    with TimelineTail(settings, start, Topic.SYNC) as tail:
        return to_the_end(tail, end)


def to_the_end(tail: TimelineTail, end: dict[int, Offset]) -> list[TailRecord]:
    """All records from a tail's position on."""
    return [record for gulp in tail.read_until(end, PATIENCE) for record in gulp]


def settled_ends(settings: Settings) -> dict[int, Offset]:
    """The ends of the sync timelines, with the markers of all transactions.

    The broker writes the last marker after the producer has its answer.
    """
    wait_until(
        lambda: ends(settings, Topic.SYNC) == ends(settings, Topic.SYNC, committed_only=True),
        "the last transaction has its marker",
    )
    return ends(settings, Topic.SYNC)


def test_everything_committed_is_read_once_from_any_position(settings: Settings) -> None:
    """A tail from any position reads each committed record once, with its offset.

    It skips aborted records and transaction markers.
    """
    writer = SyncWriter(settings)
    for number in range(1, 21):
        writer.write((user, entry(number)) for user in USERS)
        writer.write_in_vain((user, entry(1_000 + number)) for user in USERS)
    with TimelineTail(settings, oldest_offsets(settings, Topic.SYNC), Topic.SYNC) as tail:
        end = settled_ends(settings)
        records = to_the_end(tail, end)
        assert tail.positions() == end
        assert tail.read(0) == []
    by_user: dict[str, list[int]] = {}
    for record in records:
        found = record.entry()
        assert isinstance(found, MessageSent)
        by_user.setdefault((record.key or b"").decode(), []).append(found.seq)
    assert by_user == {user: list(range(1, 21)) for user in USERS}
    middle = {p: [r.offset for r in records if r.partition == p] for p in end}
    start = {p: offsets[len(offsets) // 2] for p, offsets in middle.items() if offsets}
    again = read_to(settings, start, {p: end[p] for p in start})
    assert sorted(again) == sorted(r for r in records if r.offset >= start[r.partition])


def test_a_reader_waits_for_an_open_transaction_within_a_bound(settings: Settings) -> None:
    """A read to an open transaction's end fails after a bound, and succeeds after the commit."""
    writer = SyncWriter(settings)
    writer.write([("ann", entry(1))])
    writer._produce([("ann", entry(2))])  # noqa: SLF001 - a transaction that stays open
    writer._producer.flush(PATIENCE)  # noqa: SLF001 - its record is on the broker
    written = ends(settings, Topic.SYNC)
    wait_until(
        lambda: sum(ends(settings, Topic.SYNC, committed_only=True).values()) == 2,
        "the first transaction's mark is there",
    )
    assert sum(written.values()) == 3
    with TimelineTail(settings, oldest_offsets(settings, Topic.SYNC), Topic.SYNC) as tail:
        first = to_the_end(tail, ends(settings, Topic.SYNC, committed_only=True))
        with pytest.raises(Stalled):
            list(tail.read_until(written, silence=1.0))
        writer._producer.commit_transaction(PATIENCE)  # noqa: SLF001 - ends the transaction
        rest = to_the_end(tail, written)
    assert [record.entry() for record in first] == [entry(1)]
    assert [record.entry() for record in rest] == [entry(2)]


def test_the_last_record_before_transaction_markers_is_found(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last record is found behind any number of markers and aborted records.

    An empty partition has no last record.
    """
    monkeypatch.setattr(consumers.timeline_tail, "_FIRST_DEPTH", 2)
    writer = SyncWriter(settings)
    assert last_records(settings, Topic.SYNC, ends(settings, Topic.SYNC)) == {}
    writer.write([("ann", entry(1)), ("ann", entry(2))])
    for _ in range(5):
        writer.write_in_vain([("ann", entry(3)), ("ann", entry(4))])
    end = settled_ends(settings)
    ((partition, offset),) = last_records(settings, Topic.SYNC, end).items()
    assert offset == 1
    assert end[partition] == 3 + 5 * 3
    writer.write([("ann", entry(5))])
    end = settled_ends(settings)
    assert last_records(settings, Topic.SYNC, end) == {partition: end[partition] - 2}


def test_deleted_records_are_reported(settings: Settings) -> None:
    """A start before the oldest record is an error, not a jump; so is a missing topic."""
    writer = SyncWriter(settings)
    writer.write(("ann", entry(number)) for number in range(1, 6))
    place = next(
        TopicPartition(settings.topic(Topic.SYNC), p, 3)
        for p, end in ends(settings, Topic.SYNC).items()
        if end
    )
    admin = admin_client(settings)
    (answer,) = admin.delete_records([place]).values()
    answer.result(PATIENCE)
    with TimelineTail(settings, {place.partition: Offset(0)}, Topic.SYNC) as tail:
        with pytest.raises(Trimmed) as trimmed:
            tail.read(PATIENCE)
        assert (trimmed.value.cursor, trimmed.value.oldest) == (0, 3)
    absent = settings.model_copy(update={"namespace": settings.namespace + "-absent"})
    with pytest.raises(ConfigurationError, match="im topics create"):
        ends(absent, Topic.SYNC)
