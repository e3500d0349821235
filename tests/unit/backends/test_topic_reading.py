"""Reading partitions to their present ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import cast

import pytest
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from backends.kafka.topic_reading import OffsetGone, first_record, read_to_end
from schemas.errors import ServerUnavailable

PLACES = [TopicPartition("t", 0, 0), TopicPartition("t", 1, 7)]
END = KafkaError._PARTITION_EOF  # noqa: SLF001 - its public name
GONE = KafkaError._AUTO_OFFSET_RESET  # noqa: SLF001 - its public name
AWAY = KafkaError._TRANSPORT  # noqa: SLF001 - its public name


def record(partition: int, offset: int) -> Message:
    """A record."""
    return Message("t", partition, offset, b"key", b"value")


def event(partition: int, code: int) -> Message:
    """An end or an error of a partition."""
    return Message("t", partition, 9, error=KafkaError(code))


class Log:
    """A consumer that returns these messages, one batch a call, and then nothing."""

    def __init__(self, *batches: list[Message]) -> None:
        self.assigned: list[TopicPartition] = []
        self._batches = deque(batches)

    def assign(self, places: list[TopicPartition]) -> None:
        """See `confluent_kafka.Consumer`."""
        self.assigned = places

    def consume(self, most: int, timeout: float) -> list[Message]:
        """See `confluent_kafka.Consumer`."""
        del most, timeout
        return self._batches.popleft() if self._batches else []

    def poll(self, timeout: float) -> Message | None:
        """See `confluent_kafka.Consumer`."""
        del timeout
        return None


def read(log: Log, places: Sequence[TopicPartition] = PLACES) -> list[tuple[int, int]]:
    """The partition and the offset of each record that is read."""
    return [
        (message.partition() or 0, message.offset() or 0)
        for messages in read_to_end(cast(Consumer, log), places, 0.05)
        for message in messages
    ]


def test_each_partition_is_read_to_its_end() -> None:
    """The reading ends after the last end; the batch with the last end is included."""
    log = Log(
        [record(0, 0), event(0, END)],
        [],
        [record(1, 7), record(1, 8)],
        [event(1, END), record(0, 1)],
        [record(1, 9)],
    )
    assert read(log) == [(0, 0), (1, 7), (1, 8), (0, 1)]
    assert log.assigned == PLACES


def test_a_temporary_error_is_no_end() -> None:
    """The client reconnects by itself, so a lost broker neither ends nor fails the reading."""
    assert read(Log([event(0, AWAY), event(1, END)], [record(0, 0), event(0, END)])) == [(0, 0)]


def test_silence_has_a_bound() -> None:
    """Without records and ends, the reading fails; errors of the connection do not prolong it."""
    with pytest.raises(ServerUnavailable, match="t cannot be read within"):
        read(Log([record(0, 0), event(0, END)], [event(1, AWAY)]))


def test_a_missing_topic_has_an_error() -> None:
    """The error names the topic."""
    with pytest.raises(ServerUnavailable, match="there is no topic t"):
        read(Log([event(0, KafkaError.UNKNOWN_TOPIC_OR_PART)]))


def test_a_deleted_offset_has_an_error() -> None:
    """The records of the batch are read before the error. The error names the place."""
    log = Log([record(0, 0), event(1, GONE)])
    batches = read_to_end(cast(Consumer, log), PLACES, 0.05)
    assert len(next(batches)) == 1
    with pytest.raises(OffsetGone) as gone:
        next(batches)
    assert (gone.value.partition, gone.value.offset) == (1, 9)


def test_the_first_record_or_none() -> None:
    """A partition without a record from the offset on has no first record."""
    full = Log([record(0, 3), record(0, 4)])
    first = first_record(cast(Consumer, full), PLACES[0], 0.05)
    assert first is not None
    assert first.offset() == 3
    assert first_record(cast(Consumer, Log([event(0, END)])), PLACES[0], 0.05) is None
