"""Appends records that can never pass to ``im.dead-letter``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from backends.kafka.clients import producer_config
from schemas.dead_letters import Origin, content_of, letter_headers, letter_key
from schemas.errors import FatalFailure, TransientFailure
from schemas.settings import Settings
from schemas.topics import Topic
from sinks.base.records import Record
from sinks.base.source import SinkSource

CONFIRM_SECONDS: Final = 30.0
"""Timeout of the broker's confirmation of the letters of one batch."""


class DeadLetter(NamedTuple):
    """A record that can never pass, and the reason, which has no text of a message.

    ``ids``: the value of the letter, which has no text either. None: the letter is a reference.
    """

    record: Record
    reason: str
    ids: bytes | None = None


class DeadLetters(Protocol):
    """Stores the records that the writer cannot store."""

    def send(self, letters: Sequence[DeadLetter]) -> None:
        """Returns when all letters are durable. Called again with all letters after a failure.

        Raises:
            TransientFailure: At least one letter is not confirmed.
            FatalFailure: This process can send no letters any more.
        """
        ...


class KafkaDeadLetters:
    """Appends to the dead-letter topic of a deployment and waits for the broker's confirmation.

    A letter is a reference without the value of its record, see `schemas.dead_letters`.

    Args:
        settings: The settings of the deployment.
        source: Maps the number of a record's partition to its topic and partition.
        stage: The stage that sends the letters.
    """

    def __init__(self, settings: Settings, source: SinkSource, stage: str) -> None:
        self._producer = Producer(
            producer_config(settings)
            | {
                "delivery.timeout.ms": int(CONFIRM_SECONDS * 1000),
                "linger.ms": 0,  # the caller waits
            }
        )
        self._destination = settings.topic(Topic.DEAD_LETTER)
        self._source = source
        self._stage = stage

    def send(self, letters: Sequence[DeadLetter]) -> None:
        """See `DeadLetters.send`."""
        confirmed = 0

        def on_delivery(error: KafkaError | None, _message: Message) -> None:
            nonlocal confirmed
            confirmed += error is None

        for letter in letters:
            self._produce(letter, on_delivery)
        self._producer.flush(CONFIRM_SECONDS + 1)  # by then each letter has its delivery report
        if confirmed != len(letters):
            raise TransientFailure(
                f"{len(letters) - confirmed} of {len(letters)} dead letters are not confirmed"
            )

    def _produce(
        self, letter: DeadLetter, on_delivery: Callable[[KafkaError | None, Message], None]
    ) -> None:
        record = letter.record
        place = self._source.place(record.partition)
        origin = Origin(place.topic, place.partition, record.offset)
        content = content_of(record.value if letter.ids is None else letter.ids)
        try:
            self._producer.produce(
                self._destination,
                letter.ids,
                key=letter_key(record.key),
                headers=letter_headers(self._stage, letter.reason, origin, content),
                on_delivery=on_delivery,
            )
        except BufferError:
            raise TransientFailure("the queue of dead letters is full") from None
        except KafkaException as error:
            raise FatalFailure(f"dead letters cannot be sent: {error}") from error
