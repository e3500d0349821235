"""The partitions of the log whose records wake readers, and the SeqIds of their records."""

from __future__ import annotations

from confluent_kafka import Consumer

from backends.kafka.clients import topic_partitions
from backends.sync_layout.layouts import SyncShards, sync_layout
from schemas.number_types import Offset, SyncSeqId
from schemas.settings import Settings
from schemas.sync_seq import sync_seq
from schemas.topics import Topic


class LogPlaces:
    """The partitions of sync timelines, in every epoch, and of conversation timelines.

    Args:
        settings: The settings of the deployment.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._layout = sync_layout(settings)

    def existing_partitions(self, consumer: Consumer, timeout: float) -> list[tuple[str, int]]:
        """The existing partitions, as (topic, partition).

        Raises:
            KafkaException: The broker does not answer.
            ConfigurationError: Two shards have the same number.
        """
        topics = consumer.list_topics(timeout=timeout).topics
        shards = SyncShards(
            self._layout, {name: len(topic.partitions) for name, topic in topics.items()}
        )
        entries = [
            place
            for place in topic_partitions(self._settings, Topic.TIMELINE)
            if place.topic in topics
        ]
        return [(place.topic, place.partition) for place in [*shards.places.values(), *entries]]

    def sync_seq(self, topic: str, offset: Offset) -> SyncSeqId | None:
        """The sync SeqId of a record, or None if it is an entry of a conversation timeline."""
        epoch = self._layout.epoch(topic)
        return None if epoch is None else sync_seq(epoch, offset)
