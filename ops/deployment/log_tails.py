"""Count the records that a consumer group has not read yet.

Offsets alone count too much: a transaction ends with a marker that takes an offset but is no
record, so the position of a reader with no lag is one below the end. A short tail is therefore
read to count its records.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from typing import Final

from confluent_kafka import Consumer, KafkaError, TopicPartition

from backends.kafka.clients import consumer_config
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
    config = consumer_config(settings, settings.group("status")) | {
        "enable.partition.eof": True,
    }
    count, ended = 0, 0
    deadline = time.monotonic() + _READ_SECONDS
    with closing(Consumer(config)) as consumer:
        consumer.assign([TopicPartition(p.topic, p.partition, p.offset) for p in places])
        while ended < len(places) and time.monotonic() < deadline:
            message = consumer.poll(_READ_SECONDS)
            error = message.error() if message is not None else None
            count += message is not None and error is None
            ended += error is not None and error.code() == KafkaError._PARTITION_EOF  # noqa: SLF001 - its only name
    return count if ended == len(places) else None
