"""The partitions of a topic by number, read from the broker if their number can change."""

from __future__ import annotations

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from backends.kafka.clients import REQUEST_SECONDS, admin_client, create_topics, topic_partitions
from backends.sync_layout.layouts import (
    Sharded,
    SyncLayout,
    SyncShards,
    TopicPerRecipient,
    sync_layout,
)
from schemas.errors import ConfigurationError, ServerUnavailable
from schemas.settings import Settings
from schemas.topics import Topic


def prepare_topics(settings: Settings) -> list[str]:
    """`backends.kafka.clients.create_topics`, if the deployment has the layout of the settings.

    Raises:
        ConfigurationError: The deployment has the other layout, or a topic has another number of
            partitions.
        ServerUnavailable: The broker does not answer.
    """
    try:
        check_layout(admin_client(settings), settings)
    except KafkaException as error:
        raise ServerUnavailable(f"Kafka does not answer: {error}") from error
    return create_topics(settings)


def sync_shards(
    admin: AdminClient, settings: Settings, timeout: float = REQUEST_SECONDS
) -> SyncShards:
    """All present shards of the sync timelines.

    Raises:
        KafkaException: The broker does not answer.
        ConfigurationError: Two shards have the same number.
    """
    topics = admin.list_topics(timeout=timeout).topics
    return SyncShards(
        sync_layout(settings),
        {name: len(described.partitions) for name, described in topics.items()},
    )


def check_layout(admin: AdminClient, settings: Settings) -> None:
    """Checks that the layout of the settings is the layout of the existing topics.

    Raises:
        KafkaException: The broker does not answer.
        ConfigurationError: There are topics of the other layout.
    """
    base, own = settings.topic(Topic.SYNC), sync_layout(settings)
    layouts: tuple[SyncLayout, ...] = (Sharded(base), TopicPerRecipient(base))
    names = admin.list_topics(timeout=REQUEST_SECONDS).topics
    for layout in layouts:
        topic = next((name for name in names if layout.epoch(name)), None)  # of a later epoch
        if topic is not None and layout.name != own.name:
            raise ConfigurationError(
                f"there is a topic {topic} of the sync layout {layout.name}: set IM_SYNC_LAYOUT "
                "to that, or use another IM_NAMESPACE"
            )


def places_of(
    admin: AdminClient, settings: Settings, topic: Topic, timeout: float = REQUEST_SECONDS
) -> dict[int, TopicPartition]:
    """The partitions of a topic by number; for ``im.sync`` the shards of every epoch.

    Raises:
        KafkaException: The broker does not answer.
    """
    if topic is Topic.SYNC:
        shards = sync_shards(admin, settings, timeout)
        return dict(shards.places.items())
    return {place.partition: place for place in topic_partitions(settings, topic)}
