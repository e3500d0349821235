"""Read ``im.dead-letter``. The text of a record is never shown."""

from __future__ import annotations

from contextlib import closing
from typing import Final, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message
from confluent_kafka import TopicPartition as Place
from msgspec import Struct

from backends.kafka.topic_reading import assigned_consumer, first_record, read_to_end
from schemas.dead_letters import Headers
from schemas.errors import ServerUnavailable
from schemas.number_types import Milliseconds, Offset
from schemas.settings import Settings
from schemas.topics import Topic

_SILENCE_SECONDS: Final = 30.0
_ANSWER_SECONDS: Final = 10.0
_UNKNOWN: Final = -1


class Letter(Struct, frozen=True, kw_only=True):
    """A dead letter, see `schemas.dead_letters`. -1: the letter lacks this number.

    ``at``: the time of the letter, in milliseconds since 1970.
    """

    stage: str
    reason: str
    topic: str
    partition: int
    offset: Offset
    size: int
    at: Milliseconds

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
        with closing(record_consumer(settings)) as consumer:
            name = settings.topic(Topic.DEAD_LETTER)
            found = consumer.list_topics(name, _ANSWER_SECONDS).topics[name].partitions
            places = [Place(name, partition, OFFSET_BEGINNING) for partition in found]
            letters = [
                _letter(message)
                for messages in read_to_end(consumer, places, _SILENCE_SECONDS)
                for message in messages
            ]
    except KafkaException as error:
        raise ServerUnavailable(f"the dead letters cannot be read: {error}") from error
    return sorted(letters, key=lambda letter: letter.at)


def read_record(consumer: Consumer, letter: Letter) -> Message | None:
    """The record of a letter; None if the log no longer holds the record.

    Raises:
        ServerUnavailable: Kafka does not answer in time.
    """
    place = Place(letter.topic, letter.partition, letter.offset)
    message = first_record(consumer, place, _SILENCE_SECONDS)
    return message if message is not None and message.offset() == letter.offset else None


def record_consumer(settings: Settings) -> Consumer:
    """A consumer for `read_record`. A removed offset leads to the oldest record."""
    return assigned_consumer(settings, "dead-letters")


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
        offset=Offset(_number(headers.get("offset"))),
        size=_number(headers.get("size")),
        at=Milliseconds(message.timestamp()[1]),
    )


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() else _UNKNOWN
