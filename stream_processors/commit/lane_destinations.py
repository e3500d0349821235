"""Makes the destinations of sync records for each lane of a worker, by the sync layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from confluent_kafka import Producer

from backends.sync_layout.layouts import Sharded, TopicPerRecipient, by_layout
from backends.sync_layout.recipient_topics import RecipientTopics
from schemas.number_types import FIRST_EPOCH, EpochNumber
from schemas.settings import Settings
from stream_processors.commit.newest_epoch import NewestEpoch
from stream_processors.commit.producer_settings import TRANSACTION_SECONDS
from stream_processors.commit.recipient_topic_destinations import RecipientTopicDestinations
from stream_processors.commit.shard_destinations import ShardDestinations
from stream_processors.commit.sync_destinations import SyncDestinations


class LaneDestinations(Protocol):
    """Makes the destinations for each lane. Shared by the lanes of a worker."""

    def newest_epoch(self) -> EpochNumber:
        """The epoch to which lanes switch."""
        ...

    def for_lane(self, producer: Producer) -> SyncDestinations:
        """The destinations for the lane with this producer, which must own its partition.

        Raises:
            ServerUnavailable: The broker does not answer.
        """
        ...


class EpochsForLanes:
    """`LaneDestinations` in the layout ``sharded``.

    Args:
        settings: The settings of the deployment.
        layout: Names the topics of epochs.
        changed: Called in any thread when lanes must check for a new epoch.
    """

    def __init__(self, settings: Settings, layout: Sharded, changed: Callable[[], object]) -> None:
        self._layout = layout
        self._newest = NewestEpoch(settings, changed)

    def newest_epoch(self) -> EpochNumber:
        """See `LaneDestinations.newest_epoch`."""
        return self._newest.number

    def for_lane(self, producer: Producer) -> ShardDestinations:
        """See `LaneDestinations.for_lane`."""

        def partition_count(topic: str) -> int:
            return len(producer.list_topics(topic, TRANSACTION_SECONDS).topics[topic].partitions)

        return ShardDestinations(self._layout, partition_count)


class RecipientTopicsForLanes:
    """`LaneDestinations` in the layout ``topic-per-recipient``.

    Args:
        settings: The settings of the deployment.
        layout: Names the topics.
    """

    def __init__(self, settings: Settings, layout: TopicPerRecipient) -> None:
        self._layout = layout
        self._topics = RecipientTopics(settings)

    def newest_epoch(self) -> EpochNumber:
        """See `LaneDestinations.newest_epoch`: this layout has no epochs."""
        return FIRST_EPOCH

    def for_lane(self, producer: Producer) -> RecipientTopicDestinations:  # noqa: ARG002 - port
        """See `LaneDestinations.for_lane`."""
        return RecipientTopicDestinations(self._topics, self._layout.base)


def lane_destinations(settings: Settings, changed: Callable[[], object]) -> LaneDestinations:
    """The destinations for the lanes of this worker.

    Args:
        settings: The settings of the deployment.
        changed: Called in any thread when lanes must check for a new epoch.
    """
    return by_layout(
        settings,
        sharded=lambda layout: EpochsForLanes(settings, layout, changed),
        topic_per_recipient=lambda layout: RecipientTopicsForLanes(settings, layout),
    )
