"""Follows all timelines of a kind, all partitions, from known positions: for services.

Records come in gulps, undecoded, because most of who asks looks at a part of them only.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, Self, TypeAlias

from confluent_kafka import IsolationLevel, Message, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # public, not in __all__

from consumers.reading import (
    OffsetGone,
    bounds,
    gulp,
    is_end,
    offsets,
    open_consumer,
    shards,
)
from schemas.codec import decode_entry
from schemas.errors import Stalled, Trimmed
from schemas.records import AnyEntry
from schemas.settings import Settings
from schemas.topics import Topic

Positions: TypeAlias = dict[int, int]
"""By partition, the next offset to read. Of sync timelines the partition is a shard's number."""

GULP: Final = 10_000
"""Records of one call at most."""

SILENCE_SECONDS: Final = 90.0
"""A transaction that is not ended by then is one that the broker would have aborted."""

_STEP_SECONDS: Final = 0.5
_FIRST_LOOK_BACK: Final = 64
_DEEPER: Final = 16


class TailRecord(NamedTuple):
    """One record where it lies."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None

    def entry(self) -> AnyEntry:
        """The entry that it is.

        Raises:
            UndecodableRecord: It is none that this version knows.
        """
        return decode_entry(self.value)


class TimelineTail:
    """Reads a topic of timelines from given positions on. For one thread. A context manager.

    Args:
        settings: The deployment.
        start: Where to begin in each partition; a partition that is not named is not read.
        topic: ``im.timeline``, or another whose records are committed by transactions.

    Raises:
        ConfigurationError: There is no such topic.
        ServerUnavailable: The broker does not answer.
    """

    def __init__(
        self, settings: Settings, start: Mapping[int, int], topic: Topic = Topic.TIMELINE
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
        """What has come since the last call, or the first that comes within so many seconds.

        Raises:
            Trimmed: A partition does not hold the next offset any more.
            ConfigurationError: There is no such topic.
            ServerUnavailable: It cannot be read, and will not be by waiting.
        """
        messages = gulp(self._consumer, timeout, GULP)
        return [record for message in messages if (record := self._look_at(message)) is not None]

    def read_until(
        self, ends: Mapping[int, int], silence: float = SILENCE_SECONDS
    ) -> Iterator[list[TailRecord]]:
        """Gulps up to the given ends; the last ones may go beyond. Errors as of `read`, too.

        Raises:
            Stalled: Nothing was read for ``silence`` seconds. Of all that is written now, that
                is so while a transaction stays open.
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
        """Where reading goes on: behind all that was returned, and marks of transactions."""
        return dict(self._positions)

    def has_reached(self, ends: Mapping[int, int]) -> bool:
        """Whether all before these offsets was returned."""
        return all(self._positions[partition] >= end for partition, end in ends.items())

    def close(self) -> None:
        """Lets go of the connection."""
        self._consumer.close()

    def _look_at(self, message: Message) -> TailRecord | None:
        error, offset = message.error(), message.offset()
        place = message.topic() or "", message.partition() or 0
        partition = self._numbers.get(place)
        if partition is None or offset is None:
            return None
        if error is None:
            self._positions[partition] = offset + 1
            return TailRecord(partition, offset, message.key(), message.value())
        try:
            if is_end(message, error):
                self._positions[partition] = max(self._positions[partition], offset)
        except OffsetGone as gone:
            oldest, _ = bounds(self._consumer, TopicPartition(*place))
            raise Trimmed(gone.offset, oldest) from None
        return None


def beginnings(settings: Settings, topic: Topic) -> Positions:
    """The oldest offset that each partition holds. Errors as of `ends`."""
    earliest = OffsetSpec.earliest()  # type: ignore[no-untyped-call]  # has no types
    return offsets(settings, topic, earliest, IsolationLevel.READ_UNCOMMITTED)


def ends(settings: Settings, topic: Topic, *, committed_only: bool = False) -> Positions:
    """Where each partition of a topic ends now.

    Args:
        settings: The deployment.
        topic: Which.
        committed_only: The end of what a reader of committed records can see now; otherwise of
            all that is written, whose transactions may still be open.

    Raises:
        ConfigurationError: There is no such topic.
        ServerUnavailable: The broker does not answer.
    """
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # has no types
    isolation = "READ_COMMITTED" if committed_only else "READ_UNCOMMITTED"
    return offsets(settings, topic, latest, IsolationLevel[isolation])


def last_records(settings: Settings, topic: Topic, until: Mapping[int, int]) -> Positions:
    """The offset of the last committed record before each of the given ends.

    A reader that has everything stands behind that one, not at the end: marks of transactions
    and aborted records take offsets, too. Partitions without a record are left out.

    Raises:
        Stalled: A transaction stays open.
        ConfigurationError: There is no such topic.
        ServerUnavailable: The broker does not answer.
    """
    found: Positions = {}
    oldest = beginnings(settings, topic)
    missing = {p: end for p, end in until.items() if end > oldest[p]}
    depth = _FIRST_LOOK_BACK
    while missing:
        start = {p: max(oldest[p], end - depth) for p, end in missing.items()}
        with TimelineTail(settings, start, topic) as tail:
            for records in tail.read_until(missing):
                found |= {r.partition: r.offset for r in records if r.offset < until[r.partition]}
        missing = {p: end for p, end in missing.items() if p not in found and start[p] > oldest[p]}
        depth *= _DEEPER
    return found
