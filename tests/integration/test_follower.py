"""Following a sync timeline on a real broker."""

from __future__ import annotations

import threading
from contextlib import closing
from random import Random

import pytest
from confluent_kafka import KafkaError, Message, Producer, TopicPartition

import consumers.chain
import consumers.follower
import consumers.partition_reader
from backends.kafka.clients import admin_client, create_topics, partition_of, producer_config
from consumers.cursor import MemoryCursors
from consumers.follower import SyncFollower, SyncItem
from schemas.errors import (
    ConfigurationError,
    ServerUnavailable,
    Trimmed,
    UndecodableRecord,
)
from schemas.number_types import EpochNumber, Offset
from schemas.records import MessageSent
from schemas.settings import Settings
from schemas.sync_seq import sync_seq
from schemas.topics import Topic
from tests.conftest import Servers
from tests.support.processes import wait_until
from tests.support.sync_writer import SyncWriter, entry

pytestmark = pytest.mark.servers

PATIENCE = 180.0
"""Maximum seconds until an available record is delivered."""

QUIET = 0.3
"""Seconds without a record after which there is none."""

USERS = ["ann", "bob", "陈", "|QuaD-", "d e", "Ünï😀"]


@pytest.fixture
def settings(servers: Servers) -> Settings:
    """A deployment in its own namespace, with few shards, so that people share them."""
    settings = servers.settings(partitions=1, sync_partitions=2)
    create_topics(settings)
    return settings


@pytest.fixture
def cursors() -> MemoryCursors:
    """Cursors that survive a follower."""
    return MemoryCursors()


def seqs(items: list[SyncItem]) -> list[int]:
    """The SeqIds of the entries."""
    return [item.record.seq for item in items if isinstance(item.record, MessageSent)]


def trim(settings: Settings, user: str, offset: int) -> TopicPartition:
    """Drops a shard's records before an offset, as retention does."""
    admin = admin_client(settings)
    place = TopicPartition(settings.topic(Topic.SYNC), partition_of(user, 2), offset)
    (answer,) = admin.delete_records([place]).values()
    answer.result(PATIENCE)
    return place


def test_keys_are_in_the_partition_of_the_java_client(settings: Settings) -> None:
    """The client with Java's hash agrees with `partition_of` for every key."""
    random = Random(1)
    alphabet = "ab|-[]`^ 陈字😀é"
    names = USERS + ["".join(random.choices(alphabet, k=k % 40 + 1)) for k in range(300)]
    landed: dict[str, int | None] = {}

    def note(error: KafkaError | None, message: Message) -> None:
        assert error is None
        landed[(message.key() or b"").decode()] = message.partition()

    many = settings.model_copy(update={"namespace": settings.namespace + "-m", "partitions": 7})
    create_topics(many)
    producer = Producer(producer_config(many))
    for name in names:
        producer.produce(many.topic(Topic.MESSAGES), b"", name, on_delivery=note)
    assert producer.flush(PATIENCE) == 0
    assert landed == {name: partition_of(name, 7) for name in names}
    assert len(set(landed.values())) == 7


def test_each_recipient_receives_their_own_records_once_and_in_order(
    settings: Settings, cursors: MemoryCursors
) -> None:
    """A follower gets exactly its own records in order, over restarts and aborts."""
    random, writer = Random(2), SyncWriter(settings)
    sent: dict[str, list[int]] = {user: [] for user in USERS}
    got: dict[str, list[SyncItem]] = {user: [] for user in USERS}
    for number in range(1, 13):
        recipients = random.sample(USERS, 3)
        writer.write_in_vain((user, entry(1_000 + number)) for user in recipients)
        writer.write((user, entry(number)) for user in recipients)
        for user in recipients:
            sent[user].append(number)
    for user in USERS:
        while len(got[user]) < len(sent[user]):
            # A restart after every third record.
            with SyncFollower(settings, user, cursors) as follower:
                for _ in range(min(3, len(sent[user]) - len(got[user]))):
                    item = follower.poll(PATIENCE)
                    assert item is not None
                    got[user].append(item)
                    follower.commit(item)
        with SyncFollower(settings, user, cursors) as follower:
            assert follower.poll(QUIET) is None
    assert {user: seqs(items) for user, items in got.items()} == sent
    for items in got.values():
        places = [item.sync_seq for item in items]
        assert places == sorted(set(places))


def test_uncommitted_records_are_delivered_again(
    settings: Settings, cursors: MemoryCursors
) -> None:
    """After a handler's crash, the next follower gets the unfinished record again."""
    SyncWriter(settings).write(("ann", entry(number)) for number in range(1, 6))
    handled: list[SyncItem] = []

    def handle(item: SyncItem) -> None:
        if len(handled) == 2:
            raise RuntimeError("the handler died")
        handled.append(item)

    with SyncFollower(settings, "ann", cursors) as follower, pytest.raises(RuntimeError):
        follower.follow(handle, threading.Event())
    assert seqs(handled) == [1, 2]
    with SyncFollower(settings, "ann", cursors) as follower:
        item = follower.poll(PATIENCE)
        assert item is not None
        assert seqs([item]) == [3]


def test_a_follower_continues_until_it_is_stopped(
    settings: Settings, cursors: MemoryCursors
) -> None:
    """A follower in a thread receives live records until it is stopped; then the thread ends."""
    writer, stop, handled = SyncWriter(settings), threading.Event(), list[SyncItem]()
    with SyncFollower(settings, "ann", cursors) as follower:
        thread = threading.Thread(target=follower.follow, args=(handled.append, stop))
        thread.start()
        for number in range(1, 6):
            writer.write([("bob", entry(number)), ("ann", entry(number))])
        wait_until(lambda: len(handled) == 5, "all are handled", PATIENCE)
        stop.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert seqs(handled) == [1, 2, 3, 4, 5]
    assert cursors.load("ann", "default") == handled[-1].sync_seq


def test_a_new_device_can_start_at_the_end(settings: Settings, cursors: MemoryCursors) -> None:
    """A device with `start="end"` gets all records after its first start, even after a crash."""
    writer = SyncWriter(settings)
    writer.write([("ann", entry(1))])
    # The marker of the transaction may follow a little later than its commit.
    with SyncFollower(settings, "ann", MemoryCursors()) as reader:
        assert reader.poll(PATIENCE) is not None
    SyncFollower(settings, "ann", cursors, device_id="new", start="end").close()
    writer.write([("ann", entry(2))])
    with SyncFollower(settings, "ann", cursors, device_id="new", start="end") as follower:
        item = follower.poll(PATIENCE)
        assert item is not None
        assert seqs([item]) == [2]
    with SyncFollower(settings, "ann", cursors, device_id="old", start="beginning") as follower:
        items = [follower.poll(PATIENCE) for _ in range(2)]
    assert seqs([item for item in items if item]) == [1, 2]


def test_a_trimmed_timeline_is_reported_not_skipped(
    settings: Settings, cursors: MemoryCursors
) -> None:
    """A follower whose cursor is before the oldest record raises `Trimmed`; it skips nothing."""
    writer = SyncWriter(settings)
    writer.write(("ann", entry(number)) for number in range(1, 11))
    with SyncFollower(settings, "ann", cursors) as follower:
        first = follower.poll(PATIENCE)
        assert first is not None
        follower.commit(first)
    trim(settings, "ann", 5)
    with pytest.raises(Trimmed) as trimmed:
        SyncFollower(settings, "ann", cursors)
    assert (trimmed.value.cursor, trimmed.value.oldest) == (
        first.sync_seq,
        sync_seq(EpochNumber(0), Offset(5)),
    )
    cursors.forget("ann", "default")
    with SyncFollower(settings, "ann", cursors) as follower:
        rest = [follower.poll(PATIENCE) for _ in range(5)]
    assert seqs([item for item in rest if item]) == [6, 7, 8, 9, 10]


def test_trimming_during_reading_is_reported(settings: Settings, cursors: MemoryCursors) -> None:
    """A follower raises `Trimmed` if retention passes it between its start and its fetch."""
    SyncWriter(settings).write(("ann", entry(number)) for number in range(1, 11))
    with SyncFollower(settings, "ann", cursors) as follower:
        follower._consumer.unassign()  # noqa: SLF001 - simulates a disconnect
        place = trim(settings, "ann", 5)
        place.offset = 2
        follower._consumer.assign([place])  # noqa: SLF001 - reconnects
        follower._next_offset = Offset(2)  # noqa: SLF001 - at this offset
        with pytest.raises(Trimmed) as trimmed:
            follower.poll(PATIENCE)
    assert (trimmed.value.cursor, trimmed.value.oldest) == (
        sync_seq(EpochNumber(0), Offset(1)),
        sync_seq(EpochNumber(0), Offset(5)),
    )


def test_a_record_of_an_unknown_kind_is_reported_once(
    settings: Settings, cursors: MemoryCursors
) -> None:
    """A record of an unknown kind raises an error once; without a commit, a restart repeats it."""
    unknown = b'{"kind":"from_the_future","conv_id":"c"}'
    SyncWriter(settings).write([("ann", entry(1)), ("ann", unknown), ("ann", entry(2))])
    for _ in range(2):
        with SyncFollower(settings, "ann", cursors) as follower:
            assert follower.poll(PATIENCE) is not None
            with pytest.raises(UndecodableRecord, match="sync record 1"):
                follower.poll(PATIENCE)
            item = follower.poll(PATIENCE)
            assert item is not None
            assert seqs([item]) == [2]


def test_the_cursor_passes_over_records_of_others(
    settings: Settings, cursors: MemoryCursors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cursor passes other people's records, but never an uncommitted own record.

    So a restart does not read the other people's records again.
    """
    monkeypatch.setattr(consumers.follower, "SKIPPED_SAVE_SECONDS", 0.0)
    neighbour = next(u for u in USERS[1:] if partition_of(u, 2) == partition_of("ann", 2))
    writer = SyncWriter(settings)
    writer.write((neighbour, entry(number)) for number in range(1, 6))
    with SyncFollower(settings, "ann", cursors) as follower:

        def has_passed(offset: int) -> bool:
            assert follower.poll(0.1) is None
            return (cursors.load("ann", "default") or 0) >= offset

        wait_until(lambda: has_passed(4), "the cursor follows", PATIENCE)
        before = cursors.load("ann", "default")
        writer.write([("ann", entry(6)), (neighbour, entry(7))])
        item = follower.poll(PATIENCE)
        assert item is not None
        assert follower.poll(QUIET) is None
        assert cursors.load("ann", "default") == before
        follower.commit(item)
        wait_until(lambda: has_passed(item.sync_seq + 1), "the cursor follows again", PATIENCE)


def test_impossible_positions_have_clear_errors(
    settings: Settings, cursors: MemoryCursors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cursor of another deployment, a missing topic and a missing broker cause clear errors."""
    cursors.save("ann", "default", sync_seq(EpochNumber(0), Offset(99)))
    cursors.save("bob", "default", sync_seq(EpochNumber(1), Offset(0)))
    for user in ("ann", "bob"):
        with pytest.raises(ConfigurationError, match="another deployment"):
            SyncFollower(settings, user, cursors)
    absent = settings.model_copy(update={"namespace": settings.namespace + "-absent"})
    with pytest.raises(ConfigurationError, match="im topics create"):
        SyncFollower(absent, "eve", cursors)
    for module in (consumers.partition_reader, consumers.chain):
        monkeypatch.setattr(module, "REQUEST_SECONDS", 1.0)
    nowhere = settings.model_copy(update={"kafka_bootstrap": "127.0.0.1:1"})
    with pytest.raises(ServerUnavailable):
        SyncFollower(nowhere, "eve", cursors)


def test_closing_twice_is_harmless(settings: Settings, cursors: MemoryCursors) -> None:
    """A follower may be closed twice, for example explicitly and by a context manager."""
    with closing(SyncFollower(settings, "ann", cursors)) as follower:
        follower.close()
