"""Restores the state of one partition from its compacted topic."""

from __future__ import annotations

import gc
import time
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from backends.kafka.clients import consumer_config
from schemas.errors import FatalFailure, ServerUnavailable, SourceGap
from schemas.settings import Settings
from schemas.topics import Topic
from stream_processors.state.conversations import Conversations
from stream_processors.state.gathering import Gathering
from stream_processors.state.state_codec import PROGRESS_KEY, LaneProgress, decode_progress

_GULP: Final = 2_000
_POLL_SECONDS: Final = 0.5
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
    consumer = Consumer(
        consumer_config(settings, settings.group("restore"))
        | {"enable.partition.eof": True, "fetch.message.max.bytes": 8 * 1024 * 1024}
    )
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
    consumer.assign([place])
    conversations = Conversations()
    gathering, progress = Gathering(conversations), None
    deadline = time.monotonic() + _SILENCE_SECONDS
    take = gathering.take
    while time.monotonic() < deadline:
        messages = consumer.consume(_GULP, _POLL_SECONDS)
        if messages:
            deadline = time.monotonic() + _SILENCE_SECONDS
        for message in messages:
            key, value = message.key(), message.value()
            if key is None:  # each state record has a key
                if _is_end(message):
                    gathering.hand_over()
                    return RestoredState(conversations, progress)
            elif key == PROGRESS_KEY and value is not None:
                progress = decode_progress(value)
            else:
                take(key, value)
    raise ServerUnavailable(f"the state of partition {place.partition} cannot be read")


def _is_end(message: Message) -> bool:
    error = message.error()
    if error is None:
        return False
    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the library's own name for it
        return True
    raise ServerUnavailable(f"the log cannot be read: {error.str()}")


def source_end(consumer: Consumer, settings: Settings, partition: int) -> int:
    """The offset after the last record of a source partition, from its broker.

    Raises:
        KafkaException: The broker does not answer.
    """
    place = TopicPartition(settings.topic(Topic.MESSAGES), partition)
    return int(consumer.get_watermark_offsets(place, timeout=_SILENCE_SECONDS)[1])


def holds_records(settings: Settings, partition: int, offsets: range) -> bool:
    """Whether any of these source offsets is a record rather than a transaction marker.

    Raises:
        ServerUnavailable: The broker does not answer.
        SourceGap: The broker no longer has the first of these offsets.
    """
    config = consumer_config(settings, settings.group("restore")) | {
        "auto.offset.reset": "error",  # a deleted offset must not be skipped
        "enable.partition.eof": True,  # only markers may follow, and then no record arrives
    }
    consumer = Consumer(config)
    try:
        place = TopicPartition(settings.topic(Topic.MESSAGES), partition, offsets.start)
        consumer.assign([place])
        deadline = time.monotonic() + _SILENCE_SECONDS
        while time.monotonic() < deadline:
            message = consumer.poll(_POLL_SECONDS)
            if message is None:
                continue
            error = message.error()
            if error is not None and error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - the library's own name for it
                raise SourceGap(
                    f"{place.topic}[{partition}] does not hold offset {offsets.start} any more: "
                    "its retention is shorter than the lag of the sequencer"
                )
            return not _is_end(message) and (message.offset() or 0) < offsets.stop
    finally:
        consumer.close()
    raise ServerUnavailable(f"source offsets {offsets.start}.. cannot be read")
