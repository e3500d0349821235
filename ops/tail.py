"""Counts what a group has still to read, where offsets alone would count too much.

A transaction ends with a marker that takes an offset but is no record, so a reader that has
everything stands one below the end. Short tails are read to see what is in them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from typing import Final

from confluent_kafka import Consumer, KafkaError, TopicPartition

from backends.kafka import consumer_config
from schemas.settings import Settings

_SHORT: Final = 200
"""Offsets of a tail that is worth reading: a longer one is lag, whatever is in it."""

_READ_SECONDS: Final = 3.0


def records_left(settings: Settings, behind: Mapping[TopicPartition, int]) -> int:
    """How many records are left to read, exact where few are.

    Args:
        settings: The deployment.
        behind: By the place where a reader stands, the offsets from there to the end.
    """
    short = [place for place, offsets in behind.items() if offsets <= _SHORT]
    counted = _count(settings, short) if short else 0
    if counted is None:  # too much rather than too little
        return sum(behind.values())
    return counted + sum(offsets for offsets in behind.values() if offsets > _SHORT)


def _count(settings: Settings, places: list[TopicPartition]) -> int | None:
    """The records from these places on; None if the broker does not tell in time."""
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
