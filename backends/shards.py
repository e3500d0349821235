"""Which partitions of a topic there are, by number: asked of the broker where they can change."""

from __future__ import annotations

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from backends.kafka import REQUEST_SECONDS, topic_partitions
from backends.sync_layout import SyncShards, sync_layout
from schemas.settings import Settings
from schemas.topics import Topic


def sync_shards(
    admin: AdminClient, settings: Settings, timeout: float = REQUEST_SECONDS
) -> SyncShards:
    """All shards of the sync timelines that there are now.

    Raises:
        KafkaException: The broker does not answer.
        ConfigurationError: Two of them have the same number.
    """
    topics = admin.list_topics(timeout=timeout).topics
    return SyncShards(
        sync_layout(settings), {name: len(found.partitions) for name, found in topics.items()}
    )


def places_of(
    admin: AdminClient, settings: Settings, topic: Topic, timeout: float = REQUEST_SECONDS
) -> dict[int, TopicPartition]:
    """The partitions of a topic by number; of ``im.sync`` the shards of every epoch.

    Raises:
        KafkaException: The broker does not answer.
    """
    if topic is Topic.SYNC:
        return sync_shards(admin, settings, timeout).places
    return {place.partition: place for place in topic_partitions(settings, topic)}
