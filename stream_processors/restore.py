"""Brings back the state of one partition from its compacted topic."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from backends.kafka import consumer_config
from schemas.errors import FatalFailure, ServerUnavailable, SourceGap
from schemas.settings import Settings
from schemas.topics import Topic
from stream_processors.conversations import Conversations
from stream_processors.state_codec import PROGRESS_KEY, Progress, decode_progress

_GULP: Final = 10_000
_POLL_SECONDS: Final = 0.5
_SILENCE_SECONDS: Final = 30.0
"""A broker that says nothing for so long is not there."""


class State(NamedTuple):
    """What a partition's worker starts from."""

    conversations: Conversations
    progress: Progress


def restore(settings: Settings, partition: int) -> State:
    """Reads a partition of ``im.state`` to its end.

    To be called after `init_transactions`: only then is it sure that nobody appends to it.

    Raises:
        ServerUnavailable: The broker does not answer.
        FatalFailure: A record is not one of ours, or the source is shorter than the state says.
    """
    consumer = Consumer(
        consumer_config(settings, settings.group("restore"))
        | {"enable.partition.eof": True, "fetch.message.max.bytes": 8 * 1024 * 1024}
    )
    state = State(Conversations(), Progress())
    try:
        place = TopicPartition(settings.topic(Topic.STATE), partition, 0)
        state = _read_to_end(consumer, place)
        _check_source(consumer, settings, partition, state.progress)
    finally:
        consumer.close()
    return state


def _read_to_end(consumer: Consumer, place: TopicPartition) -> State:
    consumer.assign([place])
    conversations, progress = Conversations(), Progress()
    deadline = time.monotonic() + _SILENCE_SECONDS
    while time.monotonic() < deadline:
        for message in consumer.consume(_GULP, _POLL_SECONDS):
            deadline = time.monotonic() + _SILENCE_SECONDS
            if _is_end(message):
                return State(conversations, progress)
            key, value = message.key(), message.value()
            if key == PROGRESS_KEY and value is not None:
                progress = decode_progress(value)
            elif key is not None:
                _apply(conversations, key, value)
    raise ServerUnavailable(f"the state of partition {place.partition} cannot be read")


def _is_end(message: Message) -> bool:
    error = message.error()
    if error is None:
        return False
    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the library's own name for it
        return True
    raise ServerUnavailable(f"the log cannot be read: {error.str()}")


def _apply(conversations: Conversations, key: bytes, value: bytes | None) -> None:
    try:
        conversations.restore(key, value)
    except ValueError as error:
        raise FatalFailure(f"the state topic holds a record that is not ours: {error}") from error


def _check_source(
    consumer: Consumer, settings: Settings, partition: int, progress: Progress
) -> None:
    """A source that was made anew under an old state would be skipped in silence."""
    place = TopicPartition(settings.topic(Topic.MESSAGES), partition)
    low, high = consumer.get_watermark_offsets(place, timeout=_SILENCE_SECONDS)
    if high < progress.next_offset:
        raise FatalFailure(
            f"{place.topic}[{partition}] ends at {high}, but the state has seen "
            f"{progress.next_offset} records of it: topics of two deployments are mixed"
        )
    if low > progress.next_offset:
        raise SourceGap(
            f"{place.topic}[{partition}] starts at {low}, the next is {progress.next_offset}: "
            "its retention is shorter than the sequencer was away"
        )


def source_end(consumer: Consumer, settings: Settings, partition: int) -> int:
    """The offset after the last of a source partition, asked from its broker.

    Raises:
        KafkaException: The broker does not answer.
    """
    place = TopicPartition(settings.topic(Topic.MESSAGES), partition)
    return int(consumer.get_watermark_offsets(place, timeout=_SILENCE_SECONDS)[1])


def holds_records(settings: Settings, partition: int, offsets: range) -> bool:
    """Whether any of these source offsets is a record, and not the mark of a transaction.

    Raises:
        ServerUnavailable: The broker does not answer.
    """
    # The end is told: marks may be all that follows, and then no record ever comes.
    config = consumer_config(settings, settings.group("restore")) | {"enable.partition.eof": True}
    consumer = Consumer(config)
    try:
        place = TopicPartition(settings.topic(Topic.MESSAGES), partition, offsets.start)
        consumer.assign([place])
        deadline = time.monotonic() + _SILENCE_SECONDS
        while time.monotonic() < deadline:
            message = consumer.poll(_POLL_SECONDS)
            if message is not None:
                return not _is_end(message) and (message.offset() or 0) < offsets.stop
    finally:
        consumer.close()
    raise ServerUnavailable(f"source offsets {offsets.start}.. cannot be read")
