"""Reads the records of the timeline that replayed events are about."""

from __future__ import annotations

from typing import Final

from confluent_kafka import Consumer, TopicPartition

from backends.kafka.topic_reading import assigned_consumer, first_record
from schemas.replays import EventPlace
from schemas.settings import Settings
from schemas.topics import Topic
from sinks.base.records import Record

_SILENCE_SECONDS: Final = 10.0


class ReplayedRecords:
    """Reads single records with a client that opens at the first call. For one thread.

    Args:
        settings: The deployment.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = settings.topic(Topic.TIMELINE)
        self._consumer: Consumer | None = None

    def read(self, place: EventPlace) -> Record | None:
        """The record at a place; None if the log does not have the record any more.

        Raises:
            ServerUnavailable: The broker does not answer.
        """
        if self._consumer is None:
            self._consumer = assigned_consumer(self._settings, "replays")
        at = TopicPartition(self._topic, place.partition, place.offset)
        found = first_record(self._consumer, at, _SILENCE_SECONDS)
        if found is None or found.offset() != place.offset:
            return None
        return Record(place.partition, place.offset, found.key(), found.value())

    def close(self) -> None:
        """Closes the client."""
        if self._consumer is not None:
            self._consumer.close()
