"""Count the records that a consumer group has not read yet, and find the oldest of them.

Offsets alone count too much: a transaction ends with a marker that takes an offset but is no
record, so the position of a reader with no lag is one below the end. A short tail is therefore
read to count its records.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from cachetools import LRUCache
from confluent_kafka import Message, TopicPartition
from msgspec import Struct

from backends.kafka.partition_ends import PartitionPlace
from backends.kafka.topic_reading import MAX_BATCH, assigned_consumer, gulp, is_end
from schemas.errors import ConfigurationError, ServerUnavailable
from schemas.number_types import Milliseconds
from schemas.settings import Settings

_SHORT: Final = 200
"""Longest tail, in offsets, that is read. For a longer tail the marker makes no difference."""

_MOST_READ: Final = 5_000
"""Offsets in all tails that one count reads. With many partitions, shorter tails are long."""

_MOST_LONG: Final = 64
"""Long tails whose oldest record is read: those with the most offsets."""

_READ_SECONDS: Final = 3.0
_REMEMBERED: Final = 10_000
"""Counted tails that are not read again while they do not change: a megabyte."""

_LIMITS: Final = {
    # A long tail is read for its first record only.
    "fetch.message.max.bytes": 262_144,
    "queued.max.messages.kbytes": 8_192,
}


class Unread(NamedTuple):
    """The unread records of some partitions.

    ``records``: their number; exact for short tails, an upper bound for long ones. ``oldest_at``:
    the broker's time of the oldest one that was read; None if none was.
    """

    records: int
    oldest_at: Milliseconds | None


class _Tail(Struct):
    """The records behind one position, as far as they were read."""

    offsets: int
    is_short: bool
    is_read: bool = False
    records: int = 0
    oldest_at: Milliseconds | None = None

    def add(self, message: Message) -> None:
        """Count a record of this tail."""
        if not self.records:
            self.oldest_at = Milliseconds(message.timestamp()[1])
        self.records += 1
        self.is_read = self.is_read or not self.is_short

    @property
    def unread(self) -> Unread:
        """The result; the upper bound for a tail that is long, or was not read in time."""
        is_counted = self.is_short and self.is_read
        return Unread(self.records if is_counted else self.offsets, self.oldest_at)


class UnreadCounter:
    """Counts unread records with one client. A tail that did not change is not read again.

    Args:
        settings: The deployment.
    """

    def __init__(self, settings: Settings) -> None:
        self._consumer = assigned_consumer(settings, "status", _LIMITS)
        self._known: LRUCache[tuple[str, int, int, int], Unread] = LRUCache(_REMEMBERED)

    def count(self, behind: Mapping[TopicPartition, int]) -> Unread:
        """The records behind these positions.

        Args:
            behind: The number of offsets from a position to the end, by position.
        """
        keys = {place: _key(place, offsets) for place, offsets in behind.items()}
        known = {place: self._known.get(key) for place, key in keys.items()}
        tails = self._read({place: behind[place] for place in keys if known[place] is None})
        for place, tail in tails.items():
            if tail.is_read:
                self._known[keys[place]] = tail.unread
        return _sum([each for each in known.values() if each is not None], tails.values())

    def close(self) -> None:
        """Close the client."""
        self._consumer.close()

    def _read(self, behind: Mapping[TopicPartition, int]) -> dict[TopicPartition, _Tail]:
        most = max(1, min(_SHORT, _MOST_READ // max(1, len(behind))))
        tails = {
            place: _Tail(offsets, is_short=offsets <= most) for place, offsets in behind.items()
        }
        long = heapq.nlargest(
            _MOST_LONG,
            (p for p, tail in tails.items() if not tail.is_short),
            key=behind.__getitem__,
        )
        reading = [place for place, tail in tails.items() if tail.is_short] + long
        if reading:
            self._fill({_place(place): tails[place] for place in reading}, reading)
        return tails

    def _fill(self, tails: Mapping[PartitionPlace, _Tail], places: list[TopicPartition]) -> None:
        """Read each tail to its end, or a long one to its first record, within a bound."""
        # Without the metadata of commits, which may hold the epoch of an earlier leader.
        begins = [TopicPartition(place.topic, place.partition, place.offset) for place in places]
        self._consumer.assign(begins)
        left = set(tails)
        deadline = time.monotonic() + _READ_SECONDS
        try:
            while left and (seconds := deadline - time.monotonic()) > 0:
                for message in gulp(self._consumer, seconds, MAX_BATCH):
                    self._take(message, tails, left)
        except (ConfigurationError, ServerUnavailable):
            return  # not counted: the upper bound
        finally:
            self._consumer.unassign()

    def _take(
        self, message: Message, tails: Mapping[PartitionPlace, _Tail], left: set[PartitionPlace]
    ) -> None:
        place = message.topic() or "", message.partition() or 0
        if place not in left:
            return
        tail, error = tails[place], message.error()
        if error is None:
            tail.add(message)
        elif is_end(message, error):
            tail.is_read = True
        if tail.is_read:
            left.discard(place)
            self._consumer.incremental_unassign([TopicPartition(*place)])


def _key(place: TopicPartition, offsets: int) -> tuple[str, int, int, int]:
    return place.topic, place.partition, place.offset, offsets


def _place(place: TopicPartition) -> PartitionPlace:
    return place.topic, place.partition


def _sum(known: Iterable[Unread], tails: Iterable[_Tail]) -> Unread:
    counts = [*known, *(tail.unread for tail in tails)]
    oldest = [each.oldest_at for each in counts if each.oldest_at is not None]
    return Unread(sum(each.records for each in counts), min(oldest, default=None))
