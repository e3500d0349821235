"""Sends the commands behind the sequencer's dead letters again."""

from __future__ import annotations

from typing import NamedTuple

from confluent_kafka import Consumer, Message

from backends.kafka.confirmed_producer import ConfirmedProducer
from backends.stages.dead_letter_log import read_own_record, read_record
from backends.stages.letters import Letter
from schemas.dead_letters import content_of
from schemas.errors import UndecodableRecord
from schemas.number_types import Milliseconds, Offset
from schemas.settings import Settings
from schemas.topics import Topic
from stream_processors.sequencing.source_record import command_in


class LetterContent(NamedTuple):
    """The key, the value and the headers of a letter's record."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, str | bytes | None]]


class _Copy(NamedTuple):
    """`stream_processors.sequencing.source_record.SourceRecord` of a record to be sent."""

    offset: Offset
    timestamp: Milliseconds
    key: bytes | None
    value: bytes | None


def content_behind(consumer: Consumer, settings: Settings, letter: Letter) -> LetterContent | None:
    """The record of a letter: from its topic, else from the letter, which may have a copy.

    Returns:
        None if the topic no longer has the record, and the letter has no copy.

    Raises:
        ServerUnavailable: Kafka does not answer in time.
    """
    record = read_record(consumer, letter)
    if record is not None and content_of(record.value()).digest == letter.sha256:
        return LetterContent(record.key(), record.value(), _headers(record))
    copy = read_own_record(consumer, settings, letter)
    if copy is None or content_of(copy.value()).digest != letter.sha256:
        return None  # a sink's letter has no copy
    return LetterContent(copy.key(), copy.value(), [])


def refusal_of(content: LetterContent) -> str:
    """Why the sequencer would put the record aside again; empty if it would not."""
    try:
        command_in(_Copy(Offset(0), Milliseconds(0), content.key, content.value))
    except UndecodableRecord as error:
        return str(error)
    return ""


def send_again(settings: Settings, producer: ConfirmedProducer, content: LetterContent) -> None:
    """Appends the record to ``im.messages``, to the partition of its key.

    A command that was accepted meanwhile has no second effect: its ``client_msg_id`` is the same.

    Raises:
        ServerUnavailable: The broker does not confirm the record.
    """
    producer.append(
        settings.topic(Topic.MESSAGES),
        key=content.key,
        value=content.value,
        headers=content.headers,
    )


def _headers(message: Message) -> list[tuple[str, str | bytes | None]]:
    found = message.headers() or []
    return list(found.items() if isinstance(found, dict) else found)
