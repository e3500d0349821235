"""The shards of one person's sync timeline, in order, for each sync layout."""

from __future__ import annotations

import time
from typing import Final, Protocol

from confluent_kafka import Consumer, Message, TopicPartition

from backends.kafka.clients import REQUEST_SECONDS, partition_of
from backends.kafka.epoch_log import EpochLog
from backends.sync_layout.layouts import (
    OWN_EPOCH,
    Sharded,
    SyncLayout,
    TopicPerRecipient,
    by_layout,
)
from consumers.partition_reader import answered, bounds, written_end
from schemas.errors import ConfigurationError
from schemas.number_types import FIRST_EPOCH, EpochNumber, Offset
from schemas.settings import Settings

CHAIN_CHECK_SECONDS: Final = 1.0
"""Interval at which a reader without a topic of its own checks whether the topic exists now."""


class Chain(Protocol):
    """Knows the shards of one timeline and their order.

    Every method raises `ServerUnavailable` if the broker does not answer.
    """

    def open(self) -> None:
        """Read the list of epochs. Call this before anything is assigned to the consumer."""

    def newest(self) -> EpochNumber:
        """Return the oldest epoch that is not closed. New records go there or to a later epoch."""
        ...

    def place(self, epoch: EpochNumber) -> TopicPartition:
        """Return the shard of an epoch.

        Raises:
            ConfigurationError: The topic does not exist.
        """
        ...

    def after(self, epoch: EpochNumber) -> EpochNumber | None:
        """Return the epoch to read after this one; None while records are written to this one."""
        ...

    def end(self, place: TopicPartition) -> Offset:
        """Return the end offset of a shard for which `after` returned a next epoch."""
        ...

    def beside(self) -> list[TopicPartition]:
        """Return the additional partitions that the consumer has to read."""
        ...

    def take(self, message: Message) -> bool:
        """Apply a message of an additional partition; return whether it was one."""
        ...


class ShardedChain:
    """The shards of one person in the layout `Sharded`. Learns of new epochs while reading.

    Args:
        settings: The deployment.
        layout: The layout of the deployment.
        user: The owner of the timeline.
        consumer: Reads the shards and ``im.epochs``.
    """

    def __init__(self, settings: Settings, layout: Sharded, user: str, consumer: Consumer) -> None:
        self._layout = layout
        self._user = user
        self._consumer = consumer
        self._log = EpochLog(settings, consumer)

    def open(self) -> None:
        """See `Chain`."""
        answered(self._layout.topic_of(FIRST_EPOCH), lambda: self._log.read(REQUEST_SECONDS))

    def newest(self) -> EpochNumber:
        """See `Chain`."""
        epoch = FIRST_EPOCH
        while (following := self.after(epoch)) is not None:
            epoch = following
        return epoch

    def place(self, epoch: EpochNumber) -> TopicPartition:
        """See `Chain`."""
        return _place(self._consumer, self._layout, self._user, epoch)

    def after(self, epoch: EpochNumber) -> EpochNumber | None:
        """See `Chain`."""
        epochs = self._log.epochs
        return epochs.after(epoch) if epochs.is_closed(epoch) else None

    def end(self, place: TopicPartition) -> Offset:
        """See `Chain`. Every record of a closed shard is committed."""
        return bounds(self._consumer, place)[1]

    def beside(self) -> list[TopicPartition]:
        """See `Chain`."""
        return self._log.places

    def take(self, message: Message) -> bool:
        """See `Chain`."""
        return self._log.take(message)


class RecipientTopicChain:
    """The shards of one person in the layout `TopicPerRecipient`.

    Args:
        settings: The deployment.
        layout: The layout of the deployment.
        user: The owner of the timeline.
        consumer: Lists topics.
    """

    def __init__(
        self, settings: Settings, layout: TopicPerRecipient, user: str, consumer: Consumer
    ) -> None:
        self._settings = settings
        self._layout = layout
        self._user = user
        self._consumer = consumer
        self._has_topic = False
        self._checked_at = float("-inf")

    def open(self) -> None:
        """See `Chain`."""

    def newest(self) -> EpochNumber:
        """See `Chain`."""
        return FIRST_EPOCH if self.after(FIRST_EPOCH) is None else OWN_EPOCH

    def place(self, epoch: EpochNumber) -> TopicPartition:
        """See `Chain`."""
        return _place(self._consumer, self._layout, self._user, epoch)

    def after(self, epoch: EpochNumber) -> EpochNumber | None:
        """See `Chain`. Before the person has a topic, the timeline holds replies only."""
        if epoch == OWN_EPOCH or not self._check_topic():
            return None
        return OWN_EPOCH

    def end(self, place: TopicPartition) -> Offset:
        """See `Chain`. Includes records in open transactions: they may be committed later.

        Later records go to the person's own topic:
        `stream_processors.commit.recipient_topic_destinations`.
        """
        return written_end(self._settings, place)

    def beside(self) -> list[TopicPartition]:
        """See `Chain`."""
        return []

    def take(self, message: Message) -> bool:  # noqa: ARG002 - the port's
        """See `Chain`."""
        return False

    def _check_topic(self) -> bool:
        now = time.monotonic()
        if not self._has_topic and now - self._checked_at > CHAIN_CHECK_SECONDS:
            self._checked_at = now
            topic = self._layout.recipient_topic(self._user)
            self._has_topic = _partitions(self._consumer, topic) > 0
        return self._has_topic


def chain_of(settings: Settings, user: str, consumer: Consumer) -> Chain:
    """Return the chain of one person in a deployment."""
    return by_layout(
        settings,
        sharded=lambda layout: ShardedChain(settings, layout, user, consumer),
        topic_per_recipient=lambda layout: RecipientTopicChain(settings, layout, user, consumer),
    )


def _place(
    consumer: Consumer, layout: SyncLayout, user: str, epoch: EpochNumber
) -> TopicPartition:
    topic = layout.topic(user, epoch)
    partitions = _partitions(consumer, topic)
    if not partitions:
        raise ConfigurationError(f"there is no topic {topic}: `im topics create`")
    return TopicPartition(topic, partition_of(user, partitions))


def _partitions(consumer: Consumer, topic: str) -> int:
    """Return the number of partitions of a topic; 0 if the topic does not exist."""
    metadata = answered(topic, lambda: consumer.list_topics(topic, REQUEST_SECONDS))
    return len(metadata.topics[topic].partitions)
