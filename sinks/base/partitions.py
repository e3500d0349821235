"""The assigned partitions of a sink, and a port for a writer that has a state of each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from confluent_kafka import TopicPartition

from schemas.number_types import Offset


class OwnedPartitions:
    """The number of each assigned partition, by topic and partition."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str | None, int | None], int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, place: TopicPartition, number: int) -> None:
        """Adds a partition."""
        self._numbers[place.topic, place.partition] = number

    def number(self, topic: str | None, partition: int | None) -> int | None:
        """The number of a partition; None if the partition is not assigned."""
        return self._numbers.get((topic, partition))

    def numbers(self, places: Iterable[TopicPartition]) -> list[int]:
        """The numbers of those partitions that are assigned."""
        found = [self.number(place.topic, place.partition) for place in places]
        return [number for number in found if number is not None]

    def remove(self, places: Sequence[TopicPartition]) -> set[int]:
        """Removes partitions, and returns the numbers of those that were assigned."""
        numbers = set(self.numbers(places))
        for place in places:
            self._numbers.pop((place.topic, place.partition), None)
        return numbers


class PartitionListener:
    """Hears of the partitions of the loop. The methods of this class do nothing.

    The loop calls all methods in its own thread, and during a rebalance: a method raises nothing,
    and blocks at most as long as its description permits.
    """

    def assigned(self, numbers: Sequence[int]) -> None:
        """The loop begins to read partitions. Does not block."""

    def revoked(self, numbers: Sequence[int]) -> None:
        """Another process owns the partitions after this call, which may block for some seconds.

        The batch in flight was waited for, but may still be running.
        """

    def lost(self, numbers: Sequence[int]) -> None:
        """Another process owns the partitions already. Does not block."""

    def committed(self, offsets: Mapping[int, Offset]) -> None:
        """The committed offset of each partition for which it is known. Does not block."""


class PartitionListeners(PartitionListener):
    """Several listeners, which are called in their order.

    Args:
        listeners: The listeners.
    """

    def __init__(self, *listeners: PartitionListener) -> None:
        self._listeners = listeners

    def assigned(self, numbers: Sequence[int]) -> None:
        """See `PartitionListener`."""
        for each in self._listeners:
            each.assigned(numbers)

    def revoked(self, numbers: Sequence[int]) -> None:
        """See `PartitionListener`."""
        for each in self._listeners:
            each.revoked(numbers)

    def lost(self, numbers: Sequence[int]) -> None:
        """See `PartitionListener`."""
        for each in self._listeners:
            each.lost(numbers)

    def committed(self, offsets: Mapping[int, Offset]) -> None:
        """See `PartitionListener`."""
        for each in self._listeners:
            each.committed(offsets)
