"""Reading commits from a broker that has just started and does not know its groups yet."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from backends.kafka.groups import committed_places

PLACES = [TopicPartition("t", 0), TopicPartition("t", 1)]


class Group:
    """Raises these errors, one a call, and then returns the offsets."""

    def __init__(self, *errors: int) -> None:
        self.errors = list(errors)

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        """See `confluent_kafka.Consumer`."""
        assert timeout > 0
        if self.errors:
            raise KafkaException(KafkaError(self.errors.pop(0)))
        return partitions


def test_a_moving_or_loading_coordinator_is_queried_again() -> None:
    """All three errors of a broker that does not know the group yet are retried."""
    group = Group(
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    )
    assert committed_places(group, PLACES, 10.0) == PLACES


def test_a_coordinator_is_queried_within_a_time_limit() -> None:
    """After the given time the error is raised."""
    with pytest.raises(KafkaException):
        committed_places(Group(*[KafkaError.NOT_COORDINATOR] * 1_000), PLACES, 0.3)


def test_any_other_error_is_raised_at_once() -> None:
    """Only errors that end without intervention are retried."""
    group = Group(KafkaError.GROUP_AUTHORIZATION_FAILED)
    with pytest.raises(KafkaException):
        committed_places(group, PLACES, 10.0)
    assert committed_places(group, PLACES, 10.0) == PLACES
