"""Read ``im.dead-letter``. The text of a record is never shown."""

from __future__ import annotations

import heapq
import time
from contextlib import closing
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message
from confluent_kafka import TopicPartition as Place

from backends.kafka.clients import admin_client
from backends.kafka.partition_ends import PartitionPlace, begin_offsets, stable_ends
from backends.kafka.topic_reading import (
    MAX_BATCH,
    assigned_consumer,
    first_record,
    gulp,
    is_end,
    read_to_end,
)
from backends.stages.letters import (
    Letter,
    LetterNote,
    letter_or_note,
    open_letters,
    sorted_apart,
    with_fates,
)
from schemas.errors import ServerUnavailable
from schemas.settings import Settings
from schemas.topics import Topic

_SILENCE_SECONDS: Final = 30.0
_ANSWER_SECONDS: Final = 10.0
_MOST_NEW: Final = 200
"""Offsets of all partitions that one read of the newest letters takes."""

_SHORTEST_TAIL: Final = 4
"""Offsets of one partition that such a read takes: a letter and the marker of its transaction."""

_READ_SECONDS: Final = 3.0
_FETCH_LIMITS: Final = {
    # A letter of the sequencer may have a value of a megabyte, which nobody reads here.
    "fetch.message.max.bytes": 65_536,
    "queued.max.messages.kbytes": 8_192,
}


def read_letters(settings: Settings) -> list[Letter]:
    """All letters in the topic, in order of time, each with its fate. Some 700 bytes a letter.

    Raises:
        ServerUnavailable: Kafka does not answer.
    """
    try:
        with closing(record_consumer(settings)) as consumer:
            name = settings.topic(Topic.DEAD_LETTER)
            partitions = consumer.list_topics(name, _ANSWER_SECONDS).topics[name].partitions
            places = [Place(name, partition, OFFSET_BEGINNING) for partition in partitions]
            letters, notes = sorted_apart(
                letter_or_note(message)
                for messages in read_to_end(consumer, places, _SILENCE_SECONDS)
                for message in messages
            )
    except KafkaException as error:
        raise ServerUnavailable(f"the dead letters cannot be read: {error}") from error
    return sorted(
        with_fates(letters, notes), key=lambda each: (each.at, each.own_partition, each.own_offset)
    )


def read_record(consumer: Consumer, letter: Letter) -> Message | None:
    """The record of a letter; None if the log no longer holds the record.

    Raises:
        ServerUnavailable: Kafka does not answer in time.
    """
    place = Place(letter.topic, letter.partition, letter.offset)
    message = first_record(consumer, place, _SILENCE_SECONDS)
    return message if message is not None and message.offset() == letter.offset else None


def read_own_record(consumer: Consumer, settings: Settings, letter: Letter) -> Message | None:
    """The letter itself, with its key and value; None if retention has removed the letter.

    Raises:
        ServerUnavailable: Kafka does not answer in time.
    """
    place = Place(settings.topic(Topic.DEAD_LETTER), letter.own_partition, letter.own_offset)
    message = first_record(consumer, place, _SILENCE_SECONDS)
    return message if message is not None and message.offset() == letter.own_offset else None


def record_consumer(settings: Settings) -> Consumer:
    """A consumer for `read_record`. A removed offset leads to the oldest record."""
    return assigned_consumer(settings, "dead-letters")


class NewestLetters:
    """The newest dead letters, read repeatedly with the same clients. Each read is bounded.

    A read takes new letters only. Of many new letters it skips the older ones.

    Args:
        settings: The deployment.
        most: The number of letters.
    """

    def __init__(self, settings: Settings, most: int) -> None:
        self._name = settings.topic(Topic.DEAD_LETTER)
        self._partitions = settings.partitions
        self._most = most
        self._admin = admin_client(settings)
        self._consumer = assigned_consumer(settings, "dead-letters", _FETCH_LIMITS)
        self._read_to: dict[PartitionPlace, int] = {}
        self._letters: list[Letter] = []

    def read(self) -> list[Letter]:
        """The newest open letters, the last one first.

        Raises:
            KafkaException: The broker refuses, or does not answer.
            TimeoutError: The broker does not answer.
        """
        begins = self._begins()
        if begins:
            letters, notes = sorted_apart(self._read_from(begins))
            left = open_letters(with_fates(self._letters + letters, notes))
            self._letters = heapq.nlargest(self._most, left, key=lambda letter: letter.at)
        return self._letters

    def close(self) -> None:
        """Close the client."""
        self._consumer.close()

    def _begins(self) -> list[Place]:
        """Where to read each partition that has new letters."""
        places = [Place(self._name, partition) for partition in range(self._partitions)]
        ends = stable_ends(self._admin, places, _ANSWER_SECONDS)
        fresh = {place: end for place, end in ends.items() if end > self._read_to.get(place, 0)}
        oldest = begin_offsets(self._admin, [Place(*each) for each in fresh], _ANSWER_SECONDS)
        tail = max(_SHORTEST_TAIL, _MOST_NEW // self._partitions)
        return [
            Place(*place, max(end - tail, oldest[place], self._read_to.get(place, 0)))
            for place, end in fresh.items()
            if oldest[place] < end
        ]

    def _read_from(self, begins: list[Place]) -> list[Letter | LetterNote]:
        """The records from these positions on, as many as can be read in time."""
        self._consumer.assign(begins)
        left = {(place.topic, place.partition) for place in begins}
        found: list[Letter | LetterNote] = []
        deadline = time.monotonic() + _READ_SECONDS
        try:
            while left and (seconds := deadline - time.monotonic()) > 0:
                for message in gulp(self._consumer, seconds, MAX_BATCH):
                    found += self._take(message, left)
        finally:
            self._consumer.unassign()
        return found

    def _take(self, message: Message, left: set[PartitionPlace]) -> list[Letter | LetterNote]:
        place, offset = (message.topic() or "", message.partition() or 0), message.offset() or 0
        error = message.error()
        if error is None:
            self._read_to[place] = offset + 1
            return [letter_or_note(message)]
        if is_end(message, error):
            self._read_to[place] = offset
            left.discard(place)
        return []
