"""Read ``im.dead-letter``. The text of a record is never shown."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Final, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as Place
from msgspec import Struct

from backends.kafka.clients import consumer_config
from schemas.dead_letters import Headers
from schemas.errors import ServerUnavailable
from schemas.settings import Settings
from schemas.topics import Topic

_SILENCE_SECONDS: Final = 30.0
_ANSWER_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.5
_UNKNOWN: Final = -1


class Letter(Struct, frozen=True, kw_only=True):
    """A dead letter, see `schemas.dead_letters`. -1: the letter lacks this number.

    ``at``: the time of the letter, in milliseconds since 1970.
    """

    stage: str
    reason: str
    topic: str
    partition: int
    offset: int
    size: int
    at: int

    @property
    def place(self) -> str:
        """The place of the record, as an argument of `im dead-letters replay`."""
        return f"{self.topic}:{self.partition}:{self.offset}"


def read_letters(settings: Settings) -> list[Letter]:
    """All letters in the topic, in order of time.

    Raises:
        ServerUnavailable: Kafka does not answer.
    """
    try:
        with closing(_consumer(settings)) as consumer:
            name = settings.topic(Topic.DEAD_LETTER)
            found = consumer.list_topics(name, _ANSWER_SECONDS).topics[name].partitions
            places = [Place(name, partition, OFFSET_BEGINNING) for partition in found]
            letters = [_letter(message) for message in _to_the_end(consumer, places)]
    except KafkaException as error:
        raise ServerUnavailable(f"the dead letters cannot be read: {error}") from error
    return sorted(letters, key=lambda letter: letter.at)


def read_record(consumer: Consumer, letter: Letter) -> Message | None:
    """The record of a letter; None if the log no longer holds the record.

    Raises:
        ServerUnavailable: Kafka does not answer in time.
    """
    consumer.assign([Place(letter.topic, letter.partition, letter.offset)])
    deadline = time.monotonic() + _SILENCE_SECONDS
    while time.monotonic() < deadline:
        message = consumer.poll(_POLL_SECONDS)
        if message is not None and (message.error() is None or _is_end(message)):
            return message if not _is_end(message) and message.offset() == letter.offset else None
    raise ServerUnavailable(f"{letter.place} cannot be read within {_SILENCE_SECONDS:.0f} s")


def record_consumer(settings: Settings) -> Consumer:
    """A consumer for `read_record`. A removed offset leads to the oldest record."""
    return _consumer(settings)


def _consumer(settings: Settings) -> Consumer:
    config = consumer_config(settings, settings.group("dead-letters"))
    return Consumer(config | {"enable.partition.eof": True})


def _to_the_end(consumer: Consumer, places: Sequence[Place]) -> Iterator[Message]:
    consumer.assign(list(places))
    ended = 0
    deadline = time.monotonic() + _SILENCE_SECONDS
    while ended < len(places):
        message = consumer.poll(_POLL_SECONDS)
        if message is None and time.monotonic() > deadline:
            raise ServerUnavailable(f"no dead letter arrived within {_SILENCE_SECONDS:.0f} s")
        if message is None:
            continue
        deadline = time.monotonic() + _SILENCE_SECONDS
        ended += _is_end(message)
        if message.error() is None:
            yield message


def _is_end(message: Message) -> bool:
    error = message.error()
    return error is not None and error.code() == KafkaError._PARTITION_EOF  # noqa: SLF001 - the library's only name


def _letter(message: Message) -> Letter:
    headers = {
        name: value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        for name, value in cast("Headers", message.headers() or [])
    }
    return Letter(
        stage=headers.get("stage", "unknown"),
        reason=headers.get("reason", "unknown"),
        topic=headers.get("topic", "unknown"),
        partition=_number(headers.get("partition")),
        offset=_number(headers.get("offset")),
        size=_number(headers.get("size")),
        at=message.timestamp()[1],
    )


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() else _UNKNOWN
