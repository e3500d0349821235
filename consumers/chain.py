"""The shards of one person's sync timeline, one after the other, whatever the layout."""

from __future__ import annotations

import time
from typing import Final, Protocol

from confluent_kafka import Consumer, Message, TopicPartition

from backends.epochs import EpochLog
from backends.kafka import REQUEST_SECONDS, partition_of
from backends.sync_layout import OWN_EPOCH, Sharded, SyncLayout, TopicPerRecipient, sync_layout
from consumers.reading import answered, bounds, written_end
from schemas.errors import ConfigurationError
from schemas.settings import Settings

LOOK_SECONDS: Final = 1.0
"""How often somebody without a topic of their own looks whether there is one now."""


class Chain(Protocol):
    """Knows where a timeline begins, where it is now, and what follows a shard.

    Any method raises `ServerUnavailable` if the broker does not answer.
    """

    def open(self) -> None:
        """Learns what there is. To be called first, before the consumer is given anything."""

    def newest(self) -> int:
        """The epoch in which records are written that come from now on, or an earlier one."""
        ...

    def place(self, epoch: int) -> TopicPartition:
        """The shard of an epoch.

        Raises:
            ConfigurationError: It is not there.
        """
        ...

    def after(self, epoch: int) -> int | None:
        """The epoch to go on in when this one is read to its end; None while it is written to."""
        ...

    def end(self, place: TopicPartition) -> int:
        """Where the shard of an epoch ends that `after` has said is followed by another."""
        ...

    def beside(self) -> list[TopicPartition]:
        """What the consumer has to read beside the shard."""
        ...

    def take(self, message: Message) -> bool:
        """Takes a message if it is of what is read beside; says whether it was."""
        ...


class ShardedChain:
    """The shards of somebody by the layout `Sharded`. Learns of new epochs as they come.

    Args:
        settings: The deployment.
        layout: Its layout.
        user: Whose timeline.
        consumer: Reads both the shards and ``im.epochs``.
    """

    def __init__(self, settings: Settings, layout: Sharded, user: str, consumer: Consumer) -> None:
        self._layout = layout
        self._user = user
        self._consumer = consumer
        self._log = EpochLog(settings, consumer)

    def open(self) -> None:
        """See `Chain`."""
        answered(self._layout.topic_of(0), lambda: self._log.read(REQUEST_SECONDS))

    def newest(self) -> int:
        """See `Chain`."""
        epoch = 0
        while (following := self.after(epoch)) is not None:
            epoch = following
        return epoch

    def place(self, epoch: int) -> TopicPartition:
        """See `Chain`."""
        return _place(self._consumer, self._layout, self._user, epoch)

    def after(self, epoch: int) -> int | None:
        """See `Chain`."""
        epochs = self._log.epochs
        return epochs.after(epoch) if epochs.is_closed(epoch) else None

    def end(self, place: TopicPartition) -> int:
        """See `Chain`. All that was ever written there is committed."""
        return bounds(self._consumer, place)[1]

    def beside(self) -> list[TopicPartition]:
        """See `Chain`."""
        return self._log.places

    def take(self, message: Message) -> bool:
        """See `Chain`."""
        return self._log.take(message)


class OwnTopicChain:
    """The shards of somebody by the layout `TopicPerRecipient`.

    Args:
        settings: The deployment.
        layout: Its layout.
        user: Whose timeline.
        consumer: Asks for topics.
    """

    def __init__(
        self, settings: Settings, layout: TopicPerRecipient, user: str, consumer: Consumer
    ) -> None:
        self._settings = settings
        self._layout = layout
        self._user = user
        self._consumer = consumer
        self._own_is_there = False
        self._looked_at = float("-inf")

    def open(self) -> None:
        """See `Chain`."""

    def newest(self) -> int:
        """See `Chain`."""
        return 0 if self.after(0) is None else OWN_EPOCH

    def place(self, epoch: int) -> TopicPartition:
        """See `Chain`."""
        return _place(self._consumer, self._layout, self._user, epoch)

    def after(self, epoch: int) -> int | None:
        """See `Chain`. Replies are the only records before one's own topic."""
        if epoch == OWN_EPOCH or not self._look():
            return None
        return OWN_EPOCH

    def end(self, place: TopicPartition) -> int:
        """See `Chain`. What was written there before one's own topic may be committed later.

        What is written later comes to one's own topic: `stream_processors.recipient_transaction`.
        """
        return written_end(self._settings, place)

    def beside(self) -> list[TopicPartition]:
        """See `Chain`."""
        return []

    def take(self, message: Message) -> bool:  # noqa: ARG002 - the port's
        """See `Chain`."""
        return False

    def _look(self) -> bool:
        now = time.monotonic()
        if not self._own_is_there and now - self._looked_at > LOOK_SECONDS:
            self._looked_at = now
            topic = self._layout.topic_of_own(self._user)
            self._own_is_there = _partitions(self._consumer, topic) > 0
        return self._own_is_there


def chain_of(settings: Settings, user: str, consumer: Consumer) -> Chain:
    """The chain of somebody in a deployment."""
    layout = sync_layout(settings)
    if isinstance(layout, Sharded):
        return ShardedChain(settings, layout, user, consumer)
    assert isinstance(layout, TopicPerRecipient)  # noqa: S101 - there are two
    return OwnTopicChain(settings, layout, user, consumer)


def _place(consumer: Consumer, layout: SyncLayout, user: str, epoch: int) -> TopicPartition:
    topic = layout.topic(user, epoch)
    partitions = _partitions(consumer, topic)
    if not partitions:
        raise ConfigurationError(f"there is no topic {topic}: `im topics create`")
    return TopicPartition(topic, partition_of(user, partitions))


def _partitions(consumer: Consumer, topic: str) -> int:
    """How many a topic has; 0 if it is not there."""
    found = answered(topic, lambda: consumer.list_topics(topic, REQUEST_SECONDS))
    return len(found.topics[topic].partitions)
