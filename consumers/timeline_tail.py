"""Reads all partitions of a topic from given positions: for services.

Records come in undecoded batches, because most callers need only a part of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, Self, TypeAlias

from confluent_kafka import Message, TopicPartition

from backends.kafka.partition_ends import begin_offsets, stable_ends, written_ends
from backends.kafka.topic_reading import OffsetGone, gulp, is_end
from consumers.partition_reader import bounds, offsets, open_consumer, shards
from schemas.codec import decode_entry
from schemas.errors import Stalled, Trimmed
from schemas.number_types import Offset
from schemas.records import AnyEntry
from schemas.settings import Settings
from schemas.topics import Topic

Positions: TypeAlias = dict[int, Offset]
"""The next offset to read, by partition; for sync timelines, by shard number."""

MAX_RECORDS_PER_READ: Final = 10_000
"""Maximum number of records per call."""

SILENCE_SECONDS: Final = 90.0
"""Longer than the transaction timeout, after which the broker aborts an open transaction."""

_STEP_SECONDS: Final = 0.5
_FIRST_DEPTH: Final = 64
_DEPTH_FACTOR: Final = 16


class TailRecord(NamedTuple):
    """One record with its position."""

    partition: int
    offset: Offset
    key: bytes | None
    value: bytes | None

    def entry(self) -> AnyEntry:
        """Return the decoded entry.

        Raises:
            UndecodableRecord: The record is not an entry that this version knows.
        """
        return decode_entry(self.value)


class TimelineTail:
    """Reads a topic of timelines from given positions. Not thread-safe. A context manager.

    Args:
        settings: The deployment.
        start: The first offset of each partition; other partitions are not read.
        topic: ``im.timeline``, or another topic that is written in transactions.

    Raises:
        ConfigurationError: The topic does not exist.
        ServerUnavailable: The broker does not answer.
    """

    def __init__(
        self, settings: Settings, start: Mapping[int, Offset], topic: Topic = Topic.TIMELINE
    ) -> None:
        self._name = settings.topic(topic)
        self._positions = dict(start)
        places = shards(settings, topic)
        self._numbers = {(p.topic, p.partition): number for number, p in places.items()}
        self._consumer = open_consumer(settings)
        self._consumer.assign(
            [
                TopicPartition(places[number].topic, places[number].partition, offset)
                for number, offset in start.items()
            ]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def read(self, timeout: float) -> list[TailRecord]:
        """Return the records since the last call, else the first within ``timeout`` seconds.

        Raises:
            Trimmed: A partition no longer holds the next offset.
            ConfigurationError: The topic does not exist.
            ServerUnavailable: The topic cannot be read, and waiting does not help.
        """
        messages = gulp(self._consumer, timeout, MAX_RECORDS_PER_READ)
        return [record for message in messages if (record := self._handle(message)) is not None]

    def read_until(
        self, ends: Mapping[int, Offset], silence: float = SILENCE_SECONDS
    ) -> Iterator[list[TailRecord]]:
        """Yield batches up to the given ends; the last batch may go beyond. Errors: also `read`.

        Raises:
            Stalled: Nothing was read for ``silence`` seconds. When the ends lie within the
                written records, the cause is an open transaction.
        """
        progress_at, before = time.monotonic(), self.positions()
        while not self.has_reached(ends):
            records = self.read(_STEP_SECONDS)
            if records:
                yield records
            if self._positions != before:
                progress_at, before = time.monotonic(), self.positions()
            elif time.monotonic() - progress_at > silence:
                raise Stalled(f"nothing can be read from {self._name} for {silence:.0f} s")

    def positions(self) -> Positions:
        """Return the next offsets to read, after the returned records and transaction markers."""
        return dict(self._positions)

    def has_reached(self, ends: Mapping[int, Offset]) -> bool:
        """Return whether every record before these offsets was returned."""
        return all(self._positions[partition] >= end for partition, end in ends.items())

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    def _handle(self, message: Message) -> TailRecord | None:
        error, at = message.error(), message.offset()
        place = message.topic() or "", message.partition() or 0
        partition = self._numbers.get(place)
        if partition is None or at is None:
            return None
        offset = Offset(at)
        if error is None:
            self._positions[partition] = Offset(offset + 1)
            return TailRecord(partition, offset, message.key(), message.value())
        try:
            if is_end(message, error):
                self._positions[partition] = max(self._positions[partition], offset)
        except OffsetGone as lost:
            oldest, _ = bounds(self._consumer, TopicPartition(*place))
            raise Trimmed(lost.offset, oldest) from None
        return None


def oldest_offsets(settings: Settings, topic: Topic) -> Positions:
    """Return the oldest offset of each partition. Errors: see `ends`."""
    return offsets(settings, topic, begin_offsets)


def ends(settings: Settings, topic: Topic, *, committed_only: bool = False) -> Positions:
    """Return the current end of each partition of a topic.

    Args:
        settings: The deployment.
        topic: The topic.
        committed_only: Return the end that a reader of committed records can reach now.
            Otherwise return the end of all written records, open transactions included.

    Raises:
        ConfigurationError: The topic does not exist.
        ServerUnavailable: The broker does not answer.
    """
    return offsets(settings, topic, stable_ends if committed_only else written_ends)


def last_records(settings: Settings, topic: Topic, until: Mapping[int, Offset]) -> Positions:
    """Return the offset of the last committed record before each of the given ends.

    A reader that is up to date is just after this record, not at the end: transaction markers
    and aborted records take offsets, too. Partitions without a record are omitted.

    Raises:
        Stalled: A transaction stays open.
        ConfigurationError: The topic does not exist.
        ServerUnavailable: The broker does not answer.
    """
    last_offsets: Positions = {}
    oldest = oldest_offsets(settings, topic)
    missing = {p: end for p, end in until.items() if end > oldest[p]}
    depth = _FIRST_DEPTH
    while missing:
        start = {p: Offset(max(oldest[p], end - depth)) for p, end in missing.items()}
        with TimelineTail(settings, start, topic) as tail:
            for records in tail.read_until(missing):
                last_offsets |= {
                    r.partition: r.offset for r in records if r.offset < until[r.partition]
                }
        missing = {
            p: end for p, end in missing.items() if p not in last_offsets and start[p] > oldest[p]
        }
        depth *= _DEPTH_FACTOR
    return last_offsets
