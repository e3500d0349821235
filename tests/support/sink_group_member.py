"""The part of a fake Kafka consumer that a group controls: callbacks, assignment and pauses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from confluent_kafka import KafkaError, Message, TopicPartition

from sinks.base.consumer import OnRebalance

TOPIC: Final = "t.timeline"

# Public in spite of the underscore: this event comes from the client library, not from a broker.
_PARTITION_EOF: Final = KafkaError._PARTITION_EOF  # noqa: SLF001 - see above


class GroupMember:
    """The methods of `sinks.base.consumer.SourceConsumer` that every fake has in common."""

    on_assign: OnRebalance
    on_revoke: OnRebalance
    on_lost: OnRebalance

    def __init__(self) -> None:
        self.subscribed: list[list[str]] = []
        self.assigned: list[int] = []
        self.paused: set[int] = set()

    def subscribe(
        self,
        topics: list[str],
        on_assign: OnRebalance,
        on_revoke: OnRebalance,
        on_lost: OnRebalance,
    ) -> None:
        self.subscribed.append(topics)
        self.on_assign, self.on_revoke, self.on_lost = on_assign, on_revoke, on_lost

    def assignment(self) -> list[TopicPartition]:
        return places(self.assigned)

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.paused |= {place.partition for place in partitions}

    def resume(self, partitions: list[TopicPartition]) -> None:
        self.paused -= {place.partition for place in partitions}

    def assign(self, partitions: Sequence[int]) -> None:
        """The group assigns partitions to this consumer."""
        self.on_assign(self, places(partitions))
        self.assigned += partitions

    def remove(self, partitions: Sequence[int]) -> None:
        """This consumer no longer has the partitions. Calls no callback."""
        self.assigned = [each for each in self.assigned if each not in partitions]
        self.paused -= set(partitions)


def places(partitions: Sequence[int]) -> list[TopicPartition]:
    """The partitions as the client library names them, without offsets."""
    return [TopicPartition(TOPIC, partition) for partition in partitions]


def end_of(partition: int, offset: int) -> Message:
    """The event that the consumer has read all records of a partition below ``offset``."""
    return Message(TOPIC, partition, offset, error=KafkaError(_PARTITION_EOF))
