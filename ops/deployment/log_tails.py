"""Count the records that a consumer group has not read yet.

Offsets alone count too much: a transaction ends with a marker that takes an offset but is no
record, so the position of a reader with no lag is one below the end. A short tail is therefore
read to count its records.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Final

from confluent_kafka import TopicPartition

from backends.kafka.topic_reading import assigned_consumer, read_to_end
from schemas.errors import ServerUnavailable
from schemas.settings import Settings

_SHORT: Final = 200
"""Longest tail, in offsets, that is read. For a longer tail the marker makes no difference."""

_READ_SECONDS: Final = 3.0


def records_left(settings: Settings, behind: Mapping[TopicPartition, int]) -> int:
    """The number of unread records. Exact for short tails, an upper bound for long ones.

    Args:
        settings: The deployment.
        behind: The number of offsets from a reader's position to the end, by position.
    """
    short = [place for place, offsets in behind.items() if offsets <= _SHORT]
    counted = _count(settings, short) if short else 0
    if counted is None:  # not counted in time: the upper bound
        return sum(behind.values())
    return counted + sum(offsets for offsets in behind.values() if offsets > _SHORT)


def _count(settings: Settings, places: list[TopicPartition]) -> int | None:
    """The number of records from these positions on; None if the broker is not in time."""
    # Without the metadata of commits, which may hold the epoch of an earlier leader.
    begins = [TopicPartition(place.topic, place.partition, place.offset) for place in places]
    with closing(assigned_consumer(settings, "status")) as consumer:
        try:
            return sum(map(len, read_to_end(consumer, begins, _READ_SECONDS)))
        except ServerUnavailable:
            return None
