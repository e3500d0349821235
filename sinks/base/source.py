"""The topics of a sink, which may change, and the numbers of their partitions."""

from __future__ import annotations

from typing import Any, Protocol

from confluent_kafka import TopicPartition


class SinkSource(Protocol):
    """The topics of a sink."""

    @property
    def consumer_config(self) -> dict[str, Any]:
        """Settings of the sink's consumer in addition to `sink_consumer_config`."""
        ...

    def topics(self) -> list[str]:
        """The topics to subscribe to now. Called repeatedly; does not block for long."""
        ...

    def number(self, place: TopicPartition) -> int:
        """The number of a partition, the same in every process."""
        ...

    def place(self, number: int) -> TopicPartition:
        """The partition of a number that `number` has returned."""
        ...


class OneTopic:
    """A single topic, which never changes.

    Args:
        name: The name of the topic.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def consumer_config(self) -> dict[str, Any]:
        """See `SinkSource`."""
        return {}

    def topics(self) -> list[str]:
        """See `SinkSource`."""
        return [self._name]

    def number(self, place: TopicPartition) -> int:
        """See `SinkSource`."""
        return place.partition

    def place(self, number: int) -> TopicPartition:
        """See `SinkSource`."""
        return TopicPartition(self._name, number)
