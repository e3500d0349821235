"""Clients of a broker that is killed and restarted."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Self

import pytest
from confluent_kafka import Producer

from backends.kafka.clients import create_topics, producer_config
from consumers.cursor import MemoryCursors
from consumers.follower import SyncFollower
from consumers.timeline_tail import TimelineTail, oldest_offsets
from devstack.stack import Stack
from producers.publisher import Publisher
from producers.receipts import ReceiptState
from schemas.codec import decode_command, encode
from schemas.errors import NotYet
from schemas.records import AnyEntry
from schemas.settings import Settings
from schemas.topics import Topic
from tests.conftest import Servers
from tests.support.processes import wait_until
from tests.support.publishing import message
from tests.support.servers import addresses
from tests.support.sync_writer import entry
from tests.support.topics import read_all

pytestmark = pytest.mark.servers

PATIENCE = 180.0
HALF = 200
"""Messages before the broker is killed, and again while the broker is down."""


class Watcher:
    """Follows ann's sync timeline, and the whole topic, across a restart of the broker."""

    def __init__(self, settings: Settings) -> None:
        self.followed: list[int] = []
        self.tailed: list[int] = []
        self._settings = settings
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=watch, daemon=True) for watch in (self._follow, self._tail)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def has_seen(self, count: int) -> bool:
        """Whether both readers have seen at least this number of records."""
        return min(len(self.followed), len(self.tailed)) >= count

    def _follow(self) -> None:
        with SyncFollower(self._settings, "ann", MemoryCursors()) as follower:
            follower.follow(lambda item: self._note(self.followed, item.record), self._stop)

    def _tail(self) -> None:
        start = oldest_offsets(self._settings, Topic.SYNC)
        with TimelineTail(self._settings, start, Topic.SYNC) as tail:
            while not self._stop.is_set():
                for record in tail.read(0.2):
                    self._note(self.tailed, record.entry())

    def _note(self, seen: list[int], record: object) -> None:
        assert isinstance(record, AnyEntry)
        seen.append(record.seq)


def write_sync(producer: Producer, settings: Settings, numbers: range) -> None:
    """Produces entries for ann; the producer queues records while the broker is down."""
    for number in numbers:
        producer.produce(settings.topic(Topic.SYNC), encode(entry(number)), "ann")


def test_clients_continue_after_a_restart_of_the_broker(stack: Stack, tmp_path: Path) -> None:
    """Messages sent while a killed broker is down arrive in order after its restart.

    Followers and tails see every record exactly once, in order.
    """
    settings = Servers(tmp_path, addresses(stack)).settings(partitions=2, sync_partitions=2)
    create_topics(settings)
    writer = Producer(producer_config(settings) | {"message.timeout.ms": 0})
    with (
        Watcher(settings) as watcher,
        Publisher(
            settings, "ann", "phone", tmp_path / "outbox.db", window=None, done_when="accepted"
        ) as publisher,
    ):
        publisher.publish_many([message(number) for number in range(HALF)])
        write_sync(writer, settings, range(1, HALF + 1))
        wait_until(lambda: watcher.has_seen(HALF), "the first half is followed")
        publisher.flush(PATIENCE)
        stack.kill("kafka")
        publisher.publish_many([message(number) for number in range(HALF, 2 * HALF)])
        write_sync(writer, settings, range(HALF + 1, 2 * HALF + 1))
        with pytest.raises(NotYet):
            publisher.flush(0.5)
        stack.start("kafka")
        stack.await_ready("kafka", seconds=300)
        publisher.flush(PATIENCE)
        assert publisher.counts()[ReceiptState.ACCEPTED] == 2 * HALF
        wait_until(lambda: watcher.has_seen(2 * HALF), "the second half is followed")
    assert watcher.followed == watcher.tailed == list(range(1, 2 * HALF + 1))
    landed = [decode_command(r.value()).client_msg_id for r in read_all(settings, Topic.MESSAGES)]
    assert list(dict.fromkeys(landed)) == [message(n).client_msg_id for n in range(2 * HALF)]
