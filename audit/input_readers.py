"""Read ``im.messages`` and the dead letters of its records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from confluent_kafka import Message

from audit.input_records import InputLetter, InputRecord
from audit.topic_readers import OffsetSpan, committed_spans, read_messages
from schemas.dead_letters import fate_in
from schemas.number_types import Milliseconds, Offset
from schemas.settings import Settings
from schemas.topics import Topic


def read_input(settings: Settings, spans: Sequence[OffsetSpan]) -> Iterator[InputRecord]:
    """The commands of some partitions, in order within each partition.

    Raises:
        ServerUnavailable: See `audit.topic_readers.read`.
    """
    for partition, offset, message in read_messages(settings, Topic.MESSAGES, spans):
        _, at = message.timestamp()
        yield InputRecord(partition, offset, Milliseconds(at), message.key(), message.value())


def read_input_letters(settings: Settings) -> Iterator[InputLetter]:
    """The present dead letters of records of ``im.messages``.

    Raises:
        ServerUnavailable: See `audit.topic_readers.read`.
    """
    spans = committed_spans(settings, Topic.DEAD_LETTER)
    messages = settings.topic(Topic.MESSAGES)
    for _, _, message in read_messages(settings, Topic.DEAD_LETTER, spans):
        headers = _headers(message)
        if headers.get("topic") != messages or fate_in(headers):
            continue
        with suppress(KeyError, ValueError):  # not written by a stage of this project
            first = Offset(int(headers["offset"]))
            last = Offset(int(headers.get("last_offset", first)))
            yield InputLetter(int(headers["partition"]), first, last)


def _headers(message: Message) -> dict[str, str]:
    found = message.headers() or []
    pairs = found.items() if isinstance(found, dict) else found
    return {name: _text(value) for name, value in pairs}


def _text(value: str | bytes | None) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""
