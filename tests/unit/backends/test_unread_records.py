"""Counting unread records, on a consumer that returns the messages of a test."""

from __future__ import annotations

from collections import deque
from typing import Final

import pytest
from confluent_kafka import KafkaError, Message, TopicPartition

from backends.stages import unread_records
from backends.stages.unread_records import Unread, UnreadCounter
from schemas.number_types import Milliseconds
from schemas.settings import Settings

END: Final = KafkaError._PARTITION_EOF  # noqa: SLF001 - its public name
LONG: Final = 201
AT: Final = 1_800_000_000_000


def record(partition: int, offset: int, at: int = AT) -> Message:
    """A record with the broker's time."""
    return Message("t", partition, offset, b"key", b"value", timestamp=(2, at))


def end(partition: int) -> Message:
    """The end of a partition."""
    return Message("t", partition, 9, error=KafkaError(END))


class Log:
    """A consumer that returns these messages, one batch a call, and then nothing."""

    def __init__(self, *batches: list[Message]) -> None:
        self.assigned: list[list[int]] = []
        self.left: list[int] = []
        self._batches = deque(batches)

    def assign(self, places: list[TopicPartition]) -> None:
        """See `confluent_kafka.Consumer`."""
        self.assigned.append([place.partition for place in places])

    def consume(self, most: int, timeout: float) -> list[Message]:
        """See `confluent_kafka.Consumer`."""
        del most, timeout
        return self._batches.popleft() if self._batches else []

    def poll(self, timeout: float) -> Message | None:
        """See `confluent_kafka.Consumer`."""
        del timeout
        return None

    def incremental_unassign(self, places: list[TopicPartition]) -> None:
        """See `confluent_kafka.Consumer`."""
        self.left += [place.partition for place in places]

    def unassign(self) -> None:
        """See `confluent_kafka.Consumer`."""


def counter(monkeypatch: pytest.MonkeyPatch, log: Log) -> UnreadCounter:
    """A counter on this consumer, which does not wait long."""
    monkeypatch.setattr(unread_records, "assigned_consumer", lambda *_: log)
    monkeypatch.setattr(unread_records, "_READ_SECONDS", 0.05)
    return UnreadCounter(Settings())


def unread(records: int, at: int) -> Unread:
    """A result with the time of the oldest record."""
    return Unread(records, Milliseconds(at))


def place(partition: int, offset: int = 5) -> TopicPartition:
    """A position."""
    return TopicPartition("t", partition, offset)


def test_a_short_tail_is_counted_without_markers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three offsets behind two positions are one record and two markers."""
    log = Log([end(1), record(0, 5, AT + 7)], [end(0)])
    found = counter(monkeypatch, log).count({place(0): 2, place(1): 1})
    assert found == unread(1, AT + 7)


def test_a_long_tail_is_read_for_its_oldest_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number is an upper bound; the oldest record of all tails counts."""
    log = Log([record(0, 5, AT + 9), record(0, 6, AT + 10)], [record(1, 5, AT + 3), end(1)])
    found = counter(monkeypatch, log).count({place(0): LONG, place(1): 2})
    assert found == unread(LONG + 1, AT + 3)
    assert log.left == [0, 1]


def test_a_tail_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tail is read again only after its position or its end has moved."""
    log = Log([record(0, 5), end(0)], [record(1, 5, AT - 1), end(1)], [end(0)])
    counts = counter(monkeypatch, log)
    assert counts.count({place(0): 2}) == unread(1, AT)
    assert counts.count({place(0): 2}) == unread(1, AT)
    assert counts.count({place(0): 2, place(1): 1}) == unread(2, AT - 1)
    assert counts.count({place(0, 6): 1}) == Unread(0, None)
    assert log.assigned == [[0], [1], [0]]
    assert counts.count({}) == Unread(0, None)


def test_a_tail_that_is_not_read_in_time_counts_all_offsets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The upper bound is not remembered."""
    log = Log([record(0, 5)], *[[]] * 1_000)
    counts = counter(monkeypatch, log)
    assert counts.count({place(0): 3}) == unread(3, AT)
    log._batches.clear()  # noqa: SLF001 - the test's own consumer
    log._batches.append([record(0, 5), record(0, 6), end(0)])  # noqa: SLF001 - the same
    assert counts.count({place(0): 3}) == unread(2, AT)


def test_many_tails_are_read_within_one_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """With many partitions, only few tails are read: the longest ones for their oldest record."""
    log = Log()
    behind = {place(number): 10 + number for number in range(1_000)}
    assert counter(monkeypatch, log).count(behind).records == sum(behind.values())
    assert log.assigned == [list(range(999, 999 - 64, -1))]
