"""The source of the sync sink: one epoch after the other, or all topics of recipients.

The gateway relies on an order: no sync record of a recipient is in the store before all earlier
ones. So in the layout ``sharded``, a process reads the records of an epoch only when the group has
stored all records of the previous epoch:

1. The epoch is closed: every lane writes to a later one.
2. The group has committed all shards of the epoch to their ends, which are read after step 1.
3. This process subscribes to the next epoch instead.

In the layout ``topic-per-recipient``, a recipient has all records in one partition, except replies
from before the recipient's first membership: these may be stored late.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from confluent_kafka import KafkaException, TopicPartition

from backends.kafka.epoch_log import EpochLog
from backends.kafka.groups import committed_places
from backends.kafka.partition_ends import consumer_bounds
from backends.kafka.topic_reading import assigned_consumer
from backends.sync_layout.layouts import Sharded, SyncLayout, TopicPerRecipient, by_layout
from schemas.errors import ServerUnavailable
from schemas.number_types import FIRST_EPOCH, EpochNumber, ShardNumber
from schemas.settings import Settings
from sinks.base.source import SinkSource

REQUEST_SECONDS: Final = 5.0
"""Timeout of each request to the broker; shorter than the time after which the group removes a
member."""

NEW_TOPICS_SECONDS: Final = 2.0
"""Maximum delay until the sink detects a recipient's new topic; the default is five minutes."""

_logger = logging.getLogger(__name__)


class _Numbered:
    """Numbers shards, and remembers the numbers that were requested."""

    def __init__(self, layout: SyncLayout) -> None:
        self._layout = layout
        self._places: dict[int, TopicPartition] = {}

    def number(self, place: TopicPartition) -> ShardNumber:
        """See `SinkSource`."""
        number = self._layout.number(place.topic, place.partition)
        self._places[number] = place
        return number

    def place(self, number: int) -> TopicPartition:
        """See `SinkSource`."""
        return self._places[number]


class RecipientTopicSource(_Numbered):
    """All topics of recipients, and the shared topic of all other recipients.

    Args:
        layout: The layout that names the topics.
    """

    def __init__(self, layout: TopicPerRecipient) -> None:
        super().__init__(layout)
        # The client library takes a name that begins with ^ for a pattern.
        self._pattern = f"^{layout.base.replace('.', '[.]')}([.].*)?$"

    @property
    def consumer_config(self) -> dict[str, Any]:
        """See `SinkSource`."""
        return {"topic.metadata.refresh.interval.ms": int(NEW_TOPICS_SECONDS * 1000)}

    def topics(self) -> list[str]:
        """See `SinkSource`."""
        return [self._pattern]


class EpochByEpoch(_Numbered):
    """The topic of the oldest epoch that is not stored to its end.

    Args:
        settings: The settings of the deployment.
        layout: The layout of the deployment.
        stage: The stage whose consumer group stores the records.
    """

    def __init__(self, settings: Settings, layout: Sharded, stage: str) -> None:
        super().__init__(layout)
        self._topic_of_epoch = layout.topic_of
        self._epoch = FIRST_EPOCH
        # Never subscribes: reads ``im.epochs``, and requests the group's commits.
        self._consumer = assigned_consumer(settings, stage)
        self._log = EpochLog(settings, self._consumer)

    @property
    def consumer_config(self) -> dict[str, Any]:
        """See `SinkSource`."""
        return {}

    def topics(self) -> list[str]:
        """See `SinkSource`."""
        try:
            self._log.follow(REQUEST_SECONDS)
            while self._is_stored(self._epoch):
                following = self._log.epochs.after(self._epoch)
                if following is None:
                    break
                _logger.info("epoch %d is stored, %d follows", self._epoch, following)
                self._epoch = following
        except (KafkaException, ServerUnavailable) as error:
            _logger.warning("cannot check whether an epoch is stored: %s", error)
        return [self._topic_of_epoch(self._epoch)]

    def _is_stored(self, epoch: EpochNumber) -> bool:
        if not self._log.epochs.is_closed(epoch):  # step 1
            return False
        topic = self._topic_of_epoch(epoch)
        partitions = self._consumer.list_topics(topic, REQUEST_SECONDS).topics[topic].partitions
        places = [TopicPartition(topic, partition) for partition in partitions]
        ends = [consumer_bounds(self._consumer, place, REQUEST_SECONDS)[1] for place in places]
        done = {p.partition: p.offset for p in committed_places(self._consumer, places)}
        return all(  # step 2
            max(0, done[place.partition]) >= end for place, end in zip(places, ends, strict=True)
        )


def sync_source(settings: Settings, stage: str) -> SinkSource:
    """The source of the sync sink of a deployment."""
    return by_layout(
        settings,
        sharded=lambda layout: EpochByEpoch(settings, layout, stage),
        topic_per_recipient=RecipientTopicSource,
    )
