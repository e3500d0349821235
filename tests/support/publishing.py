"""A faulty broker and a minimal sequencer, for tests of publishers."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException

from schemas.codec import decode_command
from schemas.ids import uuid7
from schemas.number_types import Milliseconds, SeqId
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
        by_itself: Whether a poll writes and reports all messages; otherwise the test does it.
    """

    def __init__(self, *, by_itself: bool = False) -> None:
        self.by_itself = by_itself
        self.log: list[tuple[bytes, bytes]] = []
        self.producer = FaultyProducer(self)
        self.room = 1_000
        self.polling_fails = False
        self.error = BROKEN

    def connect(self) -> FaultyProducer:
        """Creates the producer that writes from now on."""
        self.producer = FaultyProducer(self)
        return self.producer


class FaultyProducer:
    """An idempotent producer: the log has the order of `produce`, until the producer is broken."""

    def __init__(self, broker: FaultyBroker) -> None:
        self._broker = broker
        self._queue: list[Taken] = []
        self._written: list[Taken] = []
        self._broken = False

    def produce(self, topic: str, *, value: bytes, key: bytes, on_delivery: Report) -> None:
        """Queues a message, unless the producer is broken or full."""
        assert topic.endswith(".messages")
        if self._broken:
            raise KafkaException(self._broker.error)
        if len(self._queue) + len(self._written) >= self._broker.room:
            raise BufferError
        self._queue.append((value, key, on_delivery))

    def write(self, count: int) -> None:
        """Writes messages without a report. A purged producer's messages may arrive late."""
        for value, key, report in self._queue[:count]:
            self._broker.log.append((key, value))
            self._written.append((value, key, report))
        del self._queue[:count]

    def report(self, order: Callable[[list[Taken]], None] = lambda _: None) -> None:
        """Reports the messages that reached the log, in any order."""
        written, self._written = self._written, []
        order(written)
        for _, _, report in written:
            report(None, None)

    def break_down(self) -> None:
        """A fatal error: all unreported messages are reported as failed, even the written ones."""
        self._broken = True

    def poll(self, timeout: float) -> int:
        """Serves reports if ``by_itself``; fails all messages if the producer is broken."""
        assert timeout < 1
        if self._broker.polling_fails:
            raise RuntimeError("nobody thought of this")
        if self._broken and (self._queue or self._written):
            self.purge()
            raise KafkaException(self._broker.error)
        if self._broker.by_itself:
            self.write(len(self._queue))
            self.report()
        time.sleep(min(timeout, 0.001))
        return 0

    def purge(self) -> None:
        """Fails all unreported messages; requests in flight can still be written."""
        failed, self._written = self._written + self._queue, []
        for _, _, report in failed:
            report(PURGED, None)
        self._queue = [(value, key, lambda *_: None) for value, key, _ in self._queue]


class SmallSequencer:
    """Answers a log of messages as the real sequencer does, with a small window of ids."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._accepted: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
        self._heads: dict[str, int] = defaultdict(int)
        self._read = 0
        self.records: list[AnySyncRecord] = []

    def run(self, log: list[tuple[bytes, bytes]]) -> None:
        """Sequences the messages written since the last run."""
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
            return Duplicate(
                **about, device_id=command.device_id, at=Milliseconds(0), seq=SeqId(seq)
            )
        if ids and command.client_msg_id < max(ids):
            return Rejected(**about, device_id=command.device_id, at=Milliseconds(0), code="stale")
        self._heads[command.conv_id] += 1
        ids[command.client_msg_id] = self._heads[command.conv_id]
        if len(ids) > self._window:
            del ids[min(ids)]
        return MessageSent(
            **about,
            seq=SeqId(self._heads[command.conv_id]),
            at=Milliseconds(0),
            content=command.content,
            mentions=[],
        )
