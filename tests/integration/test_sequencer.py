"""The sequencer's process on a real broker: its output, and its recovery from crashes."""

from __future__ import annotations

import itertools
import random
import secrets
import signal
import subprocess
from collections import Counter
from typing import Final

import pytest
from confluent_kafka import Producer

from backends.kafka.clients import admin_client, create_topics, partition_of, producer_config
from backends.kafka.commit_notes import decode_note
from backends.kafka.groups import described_group
from schemas.codec import decode_entry, encode
from schemas.errors import ClientEnded
from schemas.recipients import recipients_of
from schemas.records import AnyEntry, Duplicate, MessageSent, Rejected
from schemas.settings import Settings
from schemas.topics import Topic
from stream_processors.state.restore import holds_records
from tests.conftest import Servers
from tests.support.commands import growing_group, message
from tests.support.processes import WAIT_SECONDS, running, wait_until
from tests.support.topics import (
    committed,
    is_caught_up,
    publish,
    publish_raw,
    read_all,
    sync_timelines,
    timelines,
)

pytestmark = pytest.mark.servers

PATIENCE: Final = 180.0


@pytest.fixture
def settings(servers: Servers) -> Settings:
    """A deployment in its own namespace, with its topics."""
    settings = servers.settings(partitions=4, sync_partitions=3)
    create_topics(settings)
    return settings


def sequenced(settings: Settings) -> bool:
    """Whether the sequencer has committed all records."""
    return is_caught_up(settings, "sequencer", Topic.MESSAGES)


def test_messages_reach_timeline_and_recipients(settings: Settings) -> None:
    """Messages are numbered 1..n, and each member's sync timeline has the same bytes."""
    publish(settings, [*growing_group(3), *(message(n) for n in range(50))])
    with running(settings, "stream_processors"):
        wait_until(lambda: sequenced(settings), "all is sequenced")
    timeline = timelines(settings)["c1"]
    assert [entry.seq for entry in timeline] == list(range(1, 54))
    assert sync_timelines(settings)["u0"] == timeline
    assert sync_timelines(settings)["u1"] == timeline[1:]
    written = {m.value() for m in read_all(settings, Topic.TIMELINE)}
    assert {m.value() for m in read_all(settings, Topic.SYNC)} == written


def test_a_message_costs_one_record_for_each_shard(settings: Settings) -> None:
    """A message costs one record for each shard, for any size of the group.

    Each member is in exactly one key, on the member's own shard.
    """
    publish(settings, [*growing_group(40), message(0)])
    with running(settings, "stream_processors"):
        wait_until(lambda: sequenced(settings), "all is sequenced")
    records = [
        (m.partition(), recipients_of(m.key() or b""))
        for m in read_all(settings, Topic.SYNC)
        if isinstance(decode_entry(m.value()), MessageSent)
    ]
    assert sorted(partition or 0 for partition, _ in records) == [0, 1, 2]
    placed = sorted((user.decode(), shard) for shard, users in records for user in users)
    assert placed == sorted((f"u{n}", partition_of(f"u{n}", 3)) for n in range(40))


def test_bad_input_does_not_stop_the_sequencer(settings: Settings) -> None:
    """A record that is not a command becomes a dead letter; other commands get their outcome."""
    publish(settings, growing_group(2))
    rubbish: list[tuple[bytes | None, bytes | None]] = [
        (b"c1", b"not json"),
        (b"c1", None),
        (None, b"{}"),
        (b"c1", b'{"kind":"launch_rocket","conv_id":"c1"}'),
        (b"c1", b'{"kind":"send_message","conv_id":"c1","sender":"u0"}'),
        (b"c1", b"\xff\xfe"),
        (b"c1", b"x" * 1_000_000),
        (b"other", encode(message(9))),
    ]
    publish_raw(settings, rubbish)
    publish(
        settings,
        [
            message(1, text="x" * 1_000_000),
            message(2, sender="stranger"),
            message(3, conv_id="nowhere"),
            message(4, text="after all that"),
        ],
    )
    with running(settings, "stream_processors"):
        wait_until(lambda: sequenced(settings), "all is sequenced")
    letters = read_all(settings, Topic.DEAD_LETTER)
    assert len(letters) == len(rubbish)
    assert all(dict(letter.headers() or [])["reason"] for letter in letters)
    assert {letter.value() for letter in letters} >= {value for _, value in rubbish}
    replies = {
        record.code
        for records in sync_timelines(settings).values()
        for record in records
        if isinstance(record, Rejected)
    }
    assert replies == {"too_large", "not_a_member", "unknown_conversation"}
    last = timelines(settings)["c1"][-1]
    assert isinstance(last, MessageSent)
    assert last.content.text == "after all that"


def test_outcomes_are_counted_in_the_metadata_of_offsets(settings: Settings) -> None:
    """The metadata of the committed offsets has the counts and the delay."""
    publish(settings, [*growing_group(2), message(1), message(1), message(2, sender="stranger")])
    publish_raw(settings, [(b"c1", b"?")])
    with running(settings, "stream_processors"):
        wait_until(lambda: sequenced(settings), "all is sequenced")
    places = committed(settings, "sequencer", Topic.MESSAGES).values()
    notes = [decode_note(place.metadata) for place in places]
    total = sum((Counter(note.counts) for note in notes), Counter())
    assert total == {"accepted": 3, "duplicates": 1, "rejected": 1, "dead_letters": 1}


def test_a_command_repeated_long_after_a_restart_is_a_duplicate(settings: Settings) -> None:
    """After a restart, a command sent again is a duplicate with the first SeqId."""
    publish(settings, [*growing_group(2), message(1)])
    with running(settings, "stream_processors"):
        wait_until(lambda: sequenced(settings), "the first is sequenced")
    publish(settings, [message(1), message(2)])
    with running(settings, "stream_processors"):
        wait_until(lambda: sequenced(settings), "the second is sequenced")
    records = sync_timelines(settings)["u0"]
    again = [record for record in records if isinstance(record, Duplicate)]
    assert [record.seq for record in again] == [3]
    assert [entry.seq for entry in timelines(settings)["c1"]] == [1, 2, 3, 4]


def test_records_lost_in_a_rebalance_are_fetched_again(settings: Settings) -> None:
    """After a rebalance lost fetched records, a lane reads again from the offset of its state."""
    publish(settings, [*growing_group(2), *(message(n) for n in range(38))])
    with running(settings, "tests.support.losing_worker"):
        wait_until(lambda: sequenced(settings), "all is sequenced")
    assert [entry.seq for entry in timelines(settings)["c1"]] == list(range(1, 41))


def test_a_worker_ends_when_its_client_has_lost_a_task(settings: Settings) -> None:
    """A worker whose Kafka client lost a task ends with its own exit code; Faust ignores it."""
    with running(settings, "tests.support.ending_worker") as worker:
        assert worker.wait(WAIT_SECONDS) == ClientEnded.exit_code


def test_transaction_markers_at_the_end_are_not_records(settings: Settings) -> None:
    """Markers at the end do not count as records, even below an open transaction."""
    done, opened = transactional(settings), transactional(settings)
    place = (settings.topic(Topic.MESSAGES), b"{}", b"k", 0)
    done.begin_transaction()
    done.produce(*place)
    done.commit_transaction(PATIENCE)
    opened.begin_transaction()
    opened.produce(*place)
    assert opened.flush(PATIENCE) == 0
    try:
        assert holds_records(settings, 0, range(2))
        assert not holds_records(settings, 0, range(1, 2))
    finally:
        opened.abort_transaction(PATIENCE)


def transactional(settings: Settings) -> Producer:
    """A transactional producer of another program."""
    producer = Producer(producer_config(settings) | {"transactional.id": secrets.token_hex(8)})
    producer.init_transactions(PATIENCE)
    return producer


def members(settings: Settings) -> int:
    """The number of workers in the group."""
    return len(described_group(admin_client(settings), settings.group("sequencer")).members)


def strike(settings: Settings, worker: subprocess.Popen[bytes], blow: signal.Signals) -> None:
    """Ends or suspends a worker; a suspended worker continues after the group has removed it."""
    worker.send_signal(blow)
    if blow is signal.SIGSTOP:
        wait_until(lambda: members(settings) == 1, "the suspended worker is given up")
        worker.send_signal(signal.SIGCONT)


def test_killed_and_paused_workers_lose_no_message(settings: Settings) -> None:
    """Killed, stopped and suspended workers lose and duplicate nothing."""
    rng = random.Random(7)
    conversations = [f"c{n}" for n in range(12)]
    for conv_id in conversations:
        publish(settings, growing_group(3, conv_id))
    numbers = itertools.count(1)

    def talk(count: int) -> None:
        some = itertools.islice(numbers, count)
        publish(settings, [message(n, conv_id=rng.choice(conversations)) for n in some])

    with running(settings, "stream_processors"):
        for blow in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP):
            with running(settings, "stream_processors") as other:
                talk(500)
                wait_until(lambda: members(settings) == 2, "two workers share")
                talk(500)
                strike(settings, other, blow)
        wait_until(lambda: sequenced(settings), "all is sequenced")
    assert_whole(settings, next(numbers) - 1)


def assert_whole(settings: Settings, sent: int) -> None:
    """Asserts that every message is there once, in its sender's order, dense, for every member."""
    logged, received = timelines(settings), sync_timelines(settings)
    assert sum(isinstance(e, MessageSent) for t in logged.values() for e in t) == sent
    for conv_id, timeline in logged.items():
        assert [entry.seq for entry in timeline] == list(range(1, len(timeline) + 1))
        ids = [entry.client_msg_id for entry in timeline if isinstance(entry, MessageSent)]
        assert ids == sorted(set(ids))
        for user, joined in (("u0", 1), ("u1", 2), ("u2", 3)):
            mine = [r for r in received[user] if isinstance(r, AnyEntry) and r.conv_id == conv_id]
            assert mine == timeline[joined - 1 :]
