"""Restores the state of one partition from its compacted topic."""

from __future__ import annotations

import gc
from contextlib import closing
from typing import Final, NamedTuple

from confluent_kafka import Consumer, TopicPartition

from backends.kafka.partition_ends import consumer_bounds
from backends.kafka.topic_reading import (
    OffsetGone,
    assigned_consumer,
    first_record,
    read_to_end,
)
from schemas.errors import FatalFailure, SourceGap
from schemas.number_types import Offset
from schemas.settings import Settings
from schemas.topics import Topic
from stream_processors.state.conversations import Conversations
from stream_processors.state.gathering import Gathering
from stream_processors.state.state_codec import PROGRESS_KEY, LaneProgress, decode_progress

_FETCH_BYTES: Final = 8 * 1024 * 1024
_SILENCE_SECONDS: Final = 30.0
"""Time without any response after which the broker counts as unreachable."""


class RestoredState(NamedTuple):
    """The restored state of a partition. ``progress`` is None if there is no state yet."""

    conversations: Conversations
    progress: LaneProgress | None


def restore(settings: Settings, partition: int) -> RestoredState:
    """Reads a partition of ``im.state`` to its end.

    Call this after `init_transactions`: only then no other process appends to the partition.

    Raises:
        ServerUnavailable: The broker does not answer.
        FatalFailure: A record is not a state record.
    """
    consumer = assigned_consumer(settings, "restore", {"fetch.message.max.bytes": _FETCH_BYTES})
    collects = gc.isenabled()
    gc.disable()  # millions of objects are created, with hardly any garbage
    try:
        return _read_to_end(consumer, TopicPartition(settings.topic(Topic.STATE), partition, 0))
    except ValueError as error:
        raise FatalFailure(f"the state topic holds a record that is not ours: {error}") from error
    finally:
        if collects:
            gc.enable()
        consumer.close()


def _read_to_end(consumer: Consumer, place: TopicPartition) -> RestoredState:
    conversations = Conversations()
    gathering, progress = Gathering(conversations), None
    take = gathering.take
    for messages in read_to_end(consumer, [place], _SILENCE_SECONDS):
        for message in messages:
            key, value = message.key(), message.value()
            if key == PROGRESS_KEY and value is not None:
                progress = decode_progress(value)
            elif key is not None:  # each state record has a key
                take(key, value)
    gathering.hand_over()
    return RestoredState(conversations, progress)


def source_end(consumer: Consumer, settings: Settings, partition: int) -> Offset:
    """The offset after the last record of a source partition, from its broker.

    Raises:
        KafkaException, ServerUnavailable: The broker does not answer.
    """
    place = TopicPartition(settings.topic(Topic.MESSAGES), partition)
    return consumer_bounds(consumer, place, _SILENCE_SECONDS)[1]


def holds_records(settings: Settings, partition: int, offsets: range) -> bool:
    """Whether any of these source offsets is a record rather than a transaction marker.

    Raises:
        ServerUnavailable: The broker does not answer.
        SourceGap: The broker no longer has the first of these offsets.
    """
    place = TopicPartition(settings.topic(Topic.MESSAGES), partition, offsets.start)
    no_skip = {"auto.offset.reset": "error"}  # a deleted offset must not be skipped
    with closing(assigned_consumer(settings, "restore", no_skip)) as consumer:
        try:
            first = first_record(consumer, place, _SILENCE_SECONDS)
        except OffsetGone:
            raise SourceGap(
                f"{place.topic}[{partition}] does not hold offset {offsets.start} any more: "
                "its retention is shorter than the lag of the sequencer"
            ) from None
    # Only markers may follow, and then there is no record.
    return first is not None and (first.offset() or 0) < offsets.stop
