"""What consumer groups do: who is in them, and what they have committed.

Only a group's coordinator can tell. A broker that has just started, or taken the group over,
refuses the question for a moment, and the client library hands that refusal on: here it is asked
again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Final, Protocol, TypeVar

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, not in __all__
    AdminClient,
    ConsumerGroupDescription,
)
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from backends.kafka import REQUEST_SECONDS

_Answer = TypeVar("_Answer")

_PAUSE_SECONDS: Final = 0.1
_LAST_SECONDS: Final = 0.1
"""What an attempt has at least, however little time is left."""

_COORDINATOR_ERRORS: Final = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)


class Group(Protocol):
    """Tells the commits of a consumer group, as `confluent_kafka.Consumer` does."""

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        """The same places, each with the committed offset."""
        ...


def committed_places(
    group: Group, places: Sequence[TopicPartition], timeout: float = REQUEST_SECONDS
) -> list[TopicPartition]:
    """What a group has committed, asked as one of it; below 0 where that is nothing.

    Args:
        group: A consumer of the group.
        places: The partitions that are asked for.
        timeout: Seconds until the last attempt is over.

    Raises:
        KafkaException: The broker does not answer, or refuses for good.
    """

    def ask(seconds: float) -> list[TopicPartition]:
        found = group.committed(list(places), seconds)
        for error in (place.error for place in found if place.error is not None):
            raise KafkaException(error)
        return found

    return _answered(ask, timeout)


def described_group(
    admin: AdminClient, group: str, timeout: float = REQUEST_SECONDS
) -> ConsumerGroupDescription:
    """Who is in a group and has which partitions. Arguments and errors as of `group_places`."""

    def ask(seconds: float) -> ConsumerGroupDescription:
        futures: dict[str, Future[ConsumerGroupDescription]]
        futures = admin.describe_consumer_groups([group], request_timeout=seconds)
        return _only(futures, seconds)

    return _answered(ask, timeout)


def group_places(
    admin: AdminClient,
    group: str,
    places: Sequence[TopicPartition],
    timeout: float = REQUEST_SECONDS,
) -> list[TopicPartition]:
    """What a group has committed, with its notes; below 0 where that is nothing.

    Args:
        admin: Whom to ask; not of the group.
        group: Its id.
        places: The partitions that are asked for.
        timeout: Seconds until the last attempt is over.

    Raises:
        KafkaException: The broker refuses for good.
        TimeoutError: It does not answer.
    """
    asked = ConsumerGroupTopicPartitions(group, list(places))

    def ask(seconds: float) -> list[TopicPartition]:
        offsets = admin.list_consumer_group_offsets([asked], request_timeout=seconds)
        return list(_only(offsets, seconds).topic_partitions)

    return _answered(ask, timeout)


def _only(futures: Mapping[str, Future[_Answer]], seconds: float) -> _Answer:
    (future,) = futures.values()
    return future.result(seconds + 1)  # the library's own time limit comes first


def _answered(ask: Callable[[float], _Answer], timeout: float) -> _Answer:
    deadline = time.monotonic() + timeout
    attempts = Retrying(
        retry=retry_if_exception(_is_about_the_coordinator),
        wait=wait_fixed(_PAUSE_SECONDS),
        stop=stop_after_delay(timeout),
        reraise=True,
    )
    return attempts(lambda: ask(max(deadline - time.monotonic(), _LAST_SECONDS)))


def _is_about_the_coordinator(error: BaseException) -> bool:
    return isinstance(error, KafkaException) and error.args[0].code() in _COORDINATOR_ERRORS
