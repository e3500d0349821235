"""Which partitions of the log wake somebody, and what a place on them is called."""

from __future__ import annotations

from typing import Final

from confluent_kafka import Consumer

from backends.kafka import topic_partitions
from schemas.settings import Settings
from schemas.sync_seq import EPOCH, sync_seq
from schemas.topics import Topic

_FOLLOWED: Final = (Topic.SYNC, Topic.TIMELINE)


class LogPlaces:
    """The partitions of sync timelines and of conversation timelines.

    Args:
        settings: The deployment.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sync = settings.topic(Topic.SYNC)

    def look(self, consumer: Consumer, timeout: float) -> list[tuple[str, int]]:
        """Those that there are now, as (topic, partition).

        Raises:
            KafkaException: The broker does not answer.
        """
        there = consumer.list_topics(timeout=timeout).topics
        return [
            (place.topic, place.partition)
            for topic in _FOLLOWED
            for place in topic_partitions(self._settings, topic)
            if place.topic in there
        ]

    def sync_seq(self, topic: str, offset: int) -> int | None:
        """The sync SeqId of a record, or None if it is an entry of a conversation timeline."""
        return sync_seq(EPOCH, offset) if topic == self._sync else None
