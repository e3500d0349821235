"""Writes notes on dead letters: see `schemas.dead_letters`."""

from __future__ import annotations

from backends.kafka.confirmed_producer import ConfirmedProducer
from backends.stages.letters import Letter
from schemas.dead_letters import LetterFate, note_headers
from schemas.settings import Settings
from schemas.topics import Topic


class LetterNotes:
    """Appends notes to the topic of the letters.

    Args:
        settings: The deployment.
        producer: Appends the notes.
    """

    def __init__(self, settings: Settings, producer: ConfirmedProducer) -> None:
        self._topic = settings.topic(Topic.DEAD_LETTER)
        self._producer = producer

    def settle(self, letter: Letter, fate: LetterFate) -> None:
        """Returns when the note is durable. The note is in the partition of its letter.

        Raises:
            ServerUnavailable: The broker does not confirm the note.
        """
        self._producer.append(
            self._topic,
            headers=note_headers(letter.stage, letter.origin, fate, letter.at),
            partition=letter.own_partition,
        )
