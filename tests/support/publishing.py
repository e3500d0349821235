"""A broker with faults, and a sequencer of a few lines, for publishers under test."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException

from schemas.codec import decode_command
from schemas.ids import uuid7
from schemas.records import (
    AnySyncRecord,
    Duplicate,
    MessageSent,
    Rejected,
    SendMessage,
    TextContent,
)

Report = Callable[[Any, Any], None]
Taken = tuple[bytes, bytes, Report]

BROKEN: Final = KafkaError(KafkaError._FATAL, "broken on purpose", fatal=True)  # noqa: SLF001 - the library's name for it
PURGED: Final = KafkaError(KafkaError._PURGE_INFLIGHT, "purged")  # noqa: SLF001 - the library's name for it


def message(number: int, conv_id: str = "c", sender: str = "ann") -> SendMessage:
    """The ``number``-th message of an author."""
    return SendMessage(
        conv_id=conv_id,
        sender=sender,
        device_id="phone",
        client_msg_id=uuid7(number, 0),
        content=TextContent(text=str(number)),
    )


class FaultyBroker:
    """One log, written by one producer after another.

    Args:
        by_itself: Whether a poll writes and reports all there is; else the test says when.
    """

    def __init__(self, *, by_itself: bool = False) -> None:
        self.by_itself = by_itself
        self.log: list[tuple[bytes, bytes]] = []
        self.producer = FaultyProducer(self)
        self.room = 1_000
        self.polling_fails = False

    def connect(self) -> FaultyProducer:
        """Makes the producer that writes from now on."""
        self.producer = FaultyProducer(self)
        return self.producer


class FaultyProducer:
    """An idempotent producer: its log order is that of `produce`, until it breaks for good."""

    def __init__(self, broker: FaultyBroker) -> None:
        self._broker = broker
        self._queue: list[Taken] = []
        self._written: list[Taken] = []
        self._broken = False

    def produce(self, topic: str, *, value: bytes, key: bytes, on_delivery: Report) -> None:
        """Takes a message, unless it is broken or full."""
        assert topic.endswith(".messages")
        if self._broken:
            raise KafkaException(BROKEN)
        if len(self._queue) + len(self._written) >= self._broker.room:
            raise BufferError
        self._queue.append((value, key, on_delivery))

    def write(self, count: int) -> None:
        """Lets messages reach the log; nobody is told yet. A purged producer's may come late."""
        for value, key, report in self._queue[:count]:
            self._broker.log.append((key, value))
            self._written.append((value, key, report))
        del self._queue[:count]

    def report(self, order: Callable[[list[Taken]], None] = lambda _: None) -> None:
        """Tells of what reached the log, in any order."""
        written, self._written = self._written, []
        order(written)
        for _, _, report in written:
            report(None, None)

    def break_down(self) -> None:
        """A fatal error: what was not reported yet is told as failed, the written included."""
        self._broken = True

    def poll(self, timeout: float) -> int:
        """Serves reports, if the broker works by itself; fails all if it is broken."""
        assert timeout < 1
        if self._broker.polling_fails:
            raise RuntimeError("nobody thought of this")
        if self._broken and (self._queue or self._written):
            self.purge()
            raise KafkaException(BROKEN)
        if self._broker.by_itself:
            self.write(len(self._queue))
            self.report()
        time.sleep(min(timeout, 0.001))
        return 0

    def purge(self) -> None:
        """Fails what is not reported; requests may be on the way, so it can still be written."""
        failed, self._written = self._written + self._queue, []
        for _, _, report in failed:
            report(PURGED, None)
        self._queue = [(value, key, lambda *_: None) for value, key, _ in self._queue]


class SmallSequencer:
    """Answers a log of messages as the real one does, with a small window of ids."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._accepted: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
        self._heads: dict[str, int] = defaultdict(int)
        self._read = 0
        self.records: list[AnySyncRecord] = []

    def run(self, log: list[tuple[bytes, bytes]]) -> None:
        """Sequences what was written since the last run."""
        for _, value in log[self._read :]:
            command = decode_command(value)
            assert isinstance(command, SendMessage)
            self.records.append(self._answer(command))
        self._read = len(log)

    def _answer(self, command: SendMessage) -> AnySyncRecord:
        about: dict[str, Any] = {
            name: getattr(command, name) for name in ("conv_id", "sender", "client_msg_id")
        }
        ids = self._accepted[command.conv_id, command.sender]
        if command.client_msg_id in ids:
            seq = ids[command.client_msg_id]
            return Duplicate(**about, device_id=command.device_id, at=0, seq=seq)
        if ids and command.client_msg_id < max(ids):
            return Rejected(**about, device_id=command.device_id, at=0, code="stale")
        self._heads[command.conv_id] += 1
        ids[command.client_msg_id] = self._heads[command.conv_id]
        if len(ids) > self._window:
            del ids[min(ids)]
        return MessageSent(
            **about,
            seq=self._heads[command.conv_id],
            at=0,
            content=command.content,
            mentions=[],
        )
