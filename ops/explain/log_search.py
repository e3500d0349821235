"""Finds single records on Kafka by their time. Every search has a bound."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Final, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition
from msgspec import Struct
from msgspec.json import Decoder

from backends.kafka.clients import admin_client, partition_of
from backends.kafka.topic_reading import assigned_consumer, read_to_end
from backends.sync_layout.topic_creation import sync_shards
from schemas.codec import decode
from schemas.errors import ServerUnavailable, UndecodableRecord
from schemas.number_types import Milliseconds, Offset, SeqId, SyncSeqId
from schemas.recipients import is_recipient, recipients_of
from schemas.settings import Settings
from schemas.sync_seq import epoch_of, sync_seq
from schemas.topics import Topic

SEARCH_SECONDS_OF_LOG: Final = 60.0
"""Maximum duration of one search."""

CLOCK_MS: Final = 10_000
"""The clocks of two brokers differ by less."""

LATER_MS: Final = 120_000
"""A sync record is written in the transaction of its entry, so not much later."""

_REPLIES: Final = frozenset({"rejected", "duplicate", "read_marked", "conversation_muted"})
_ANSWER_SECONDS: Final = 10.0
_SILENCE_SECONDS: Final = 30.0


class FoundRecord(NamedTuple):
    """A record, its place and the broker's time (ms)."""

    topic: str
    partition: int
    offset: Offset
    at: Milliseconds
    key: bytes
    value: bytes

    @property
    def place(self) -> str:
        """The place in one word."""
        return f"{self.topic}:{self.partition}:{self.offset}"


class EntryFields(Struct):
    """The fields of an entry, a reply or a command that `im explain` uses. None has a text."""

    kind: str
    conv_id: str
    seq: int = 0
    at: int = 0
    sender: str = ""
    device_id: str = ""
    client_msg_id: str = ""
    mode: str = ""
    code: str = ""
    target: int = 0
    mentions: list[str] = []
    members: list[str] = []
    owner: str = ""


class FoundSync(NamedTuple):
    """A record in a person's sync timeline. ``recipients``: people who share the record."""

    record: FoundRecord
    sync_seq: SyncSeqId
    recipients: int


_fields: Final = Decoder(EntryFields)


def entry_fields(value: bytes | None) -> EntryFields | None:
    """The fields of a record; None if the record is none of this project."""
    try:
        return decode(_fields, value)
    except UndecodableRecord:
        return None


class LogSearch:
    """Searches the topics of a deployment.

    Each method raises `ServerUnavailable` if Kafka does not answer, or if a search takes longer
    than `SEARCH_SECONDS_OF_LOG`.

    Args:
        settings: The deployment.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def entry(self, conv_id: str, seq: SeqId, since: Milliseconds) -> FoundRecord | None:
        """An entry on ``im.timeline``; None if the log has later entries, or ends before it.

        Args:
            conv_id: The conversation.
            seq: The SeqId.
            since: A time (ms) not after the entry's; 0 for the whole log.
        """

        def found(record: FoundRecord) -> FoundRecord | bool | None:
            if record.key != conv_id.encode():
                return None
            fields = entry_fields(record.value)
            if fields is None or fields.seq < seq:
                return None
            return record if fields.seq == seq else False

        return self._in_conversation(Topic.TIMELINE, conv_id, since, found)

    def entry_of_command(
        self, conv_id: str, client_msg_id: str, sender: str, at: Milliseconds
    ) -> FoundRecord | None:
        """The first entry of the command of this time, sender and id; None if there is none."""

        def found(record: FoundRecord) -> FoundRecord | bool | None:
            if record.key != conv_id.encode():
                return None
            fields = entry_fields(record.value)
            if fields is None or fields.at < at:
                return None
            if (fields.client_msg_id, fields.sender) == (client_msg_id, sender):
                return record
            return False if fields.at > at else None

        return self._in_conversation(Topic.TIMELINE, conv_id, at, found)

    def command(
        self, conv_id: str, client_msg_id: str, sender: str, since: Milliseconds,
        until: Milliseconds | None = None,
    ) -> FoundRecord | None:  # fmt: skip
        """A command on ``im.messages``; None if there is none in this time.

        Args:
            conv_id: The conversation.
            client_msg_id: The id of the command.
            sender: The sender.
            since: The earliest time of the record (ms).
            until: The latest time of the record (ms).
        """

        def found(record: FoundRecord) -> FoundRecord | bool | None:
            if until is not None and record.at > until:
                return False
            if record.key != conv_id.encode():
                return None
            fields = entry_fields(record.value)
            ids = (client_msg_id, sender)
            return record if fields and (fields.client_msg_id, fields.sender) == ids else None

        return self._in_conversation(Topic.MESSAGES, conv_id, since, found)

    def sync_record(self, user: str, conv_id: str, entry: FoundRecord) -> FoundSync | None:
        """The record with an entry in a person's sync timeline; None if there is none."""
        return self._in_sync(user, conv_id, entry.at, lambda record: record.value == entry.value)

    def reply(
        self, user: str, conv_id: str, client_msg_id: str, at: Milliseconds
    ) -> FoundSync | None:
        """The reply to a command of this time (ms) in its sender's sync timeline."""

        def is_reply(record: FoundRecord) -> bool:
            fields = entry_fields(record.value)
            return (
                fields is not None
                and fields.client_msg_id == client_msg_id
                and fields.kind in _REPLIES
            )

        return self._in_sync(user, conv_id, at, is_reply)

    def _in_sync(
        self,
        user: str,
        conv_id: str,
        at: Milliseconds,
        is_wanted: Callable[[FoundRecord], bool],
    ) -> FoundSync | None:
        name = user.encode()

        def found(record: FoundRecord) -> FoundRecord | bool | None:
            if record.at > at + LATER_MS:
                return False
            if not is_recipient(name, record.key) or not is_wanted(record):
                return None
            fields = entry_fields(record.value)
            return record if fields is not None and fields.conv_id == conv_id else None

        with _kafka_errors():
            shards = sync_shards(admin_client(self._settings), self._settings)
        for epoch in shards.epochs:
            number = shards.home(user, epoch)
            if number is None:
                continue
            record = self._first(shards.places[number], at, found)
            if record is not None:
                place = sync_seq(epoch_of(number), record.offset)
                return FoundSync(record, place, len(recipients_of(record.key)))
        return None

    def _in_conversation(
        self,
        topic: Topic,
        conv_id: str,
        since: Milliseconds,
        found: Callable[[FoundRecord], FoundRecord | bool | None],
    ) -> FoundRecord | None:
        partition = partition_of(conv_id, self._settings.partitions)
        return self._first(TopicPartition(self._settings.topic(topic), partition), since, found)

    def _first(
        self,
        place: TopicPartition,
        since: Milliseconds,
        found: Callable[[FoundRecord], FoundRecord | bool | None],
    ) -> FoundRecord | None:
        """The first record for which ``found`` returns a record. False ends the search."""
        with _kafka_errors(), closing(assigned_consumer(self._settings, "explain")) as consumer:
            for record in _records(consumer, place, since):
                result = found(record)
                if result is False:
                    return None
                if isinstance(result, FoundRecord):
                    return result
        return None


def _records(
    consumer: Consumer, place: TopicPartition, since: Milliseconds
) -> Iterator[FoundRecord]:
    """The records from a time on, less `CLOCK_MS`, up to the present end."""
    start = OFFSET_BEGINNING
    if since > CLOCK_MS:
        asked = TopicPartition(place.topic, place.partition, since - CLOCK_MS)
        (answer,) = consumer.offsets_for_times([asked], timeout=_ANSWER_SECONDS)
        if answer.offset < 0:
            return  # all records are older
        start = answer.offset
    deadline = time.monotonic() + SEARCH_SECONDS_OF_LOG
    begin = TopicPartition(place.topic, place.partition, start)
    for messages in read_to_end(consumer, [begin], _SILENCE_SECONDS):
        for message in messages:
            yield _record(message)
        if time.monotonic() > deadline:
            raise ServerUnavailable(
                f"{place.topic}[{place.partition}] was read for {SEARCH_SECONDS_OF_LOG:.0f} s"
                " without a result"
            )


def _record(message: Message) -> FoundRecord:
    return FoundRecord(
        message.topic() or "",
        message.partition() or 0,
        Offset(message.offset() or 0),
        Milliseconds(message.timestamp()[1]),
        message.key() or b"",
        message.value() or b"",
    )


@contextmanager
def _kafka_errors() -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        raise ServerUnavailable(f"Kafka does not answer: {error}") from error
