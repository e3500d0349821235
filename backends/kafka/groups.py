"""Members and committed offsets of consumer groups.

Only a group's coordinator answers these requests. A broker that has just started, or that has just
become the coordinator, refuses them for a moment. The client library returns this error to the
caller; the functions here retry.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from typing import Final, Protocol, TypeVar

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, not in __all__
    AdminClient,
    ConsumerGroupDescription,
)
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from backends.kafka.clients import REQUEST_SECONDS, consumer_config
from schemas.settings import Settings

_Answer = TypeVar("_Answer")

_PAUSE_SECONDS: Final = 0.1
_LIBRARY_SECONDS: Final = 3_600.0
"""The request timeout of the client library in a request to a coordinator: its maximum.

The caller waits for its own, shorter timeout. librdkafka 2.16 aborts the process when its timeout
ends a request before the coordinator is found, and the coordinator is found later: the library
answers the ended request twice (assertion in ``rd_kafka_enq_once_del_source_return``).
"""

_LAST_SECONDS: Final = 0.1
"""Minimum timeout of one attempt, even when less time is left."""

_COORDINATOR_ERRORS: Final = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)


class Group(Protocol):
    """Returns the commits of a consumer group, as `confluent_kafka.Consumer` does."""

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        """The same partitions, each with the committed offset."""
        ...


def committed_places(
    group: Group, places: Sequence[TopicPartition], timeout: float = REQUEST_SECONDS
) -> list[TopicPartition]:
    """The committed offsets of a group with their metadata; below 0 without a commit.

    Args:
        group: A consumer with the id of the group.
        places: The partitions.
        timeout: Seconds until the last attempt ends.

    Raises:
        KafkaException: The broker does not answer, or refuses permanently.
    """

    def ask(seconds: float) -> list[TopicPartition]:
        places_now = group.committed(list(places), seconds)
        for error in (place.error for place in places_now if place.error is not None):
            raise KafkaException(error)
        return places_now

    return _answered(ask, timeout)


def described_group(
    admin: AdminClient, group: str, timeout: float = REQUEST_SECONDS
) -> ConsumerGroupDescription:
    """The members of a group with their partitions.

    Args:
        admin: A client outside of the group.
        group: The group's id.
        timeout: Seconds until the last attempt ends.

    Raises:
        KafkaException: The broker refuses permanently.
        TimeoutError: The broker does not answer.
    """

    def ask(seconds: float) -> ConsumerGroupDescription:
        futures: dict[str, Future[ConsumerGroupDescription]]
        futures = admin.describe_consumer_groups([group], request_timeout=_LIBRARY_SECONDS)
        return _only(futures, seconds)

    return _answered(ask, timeout)


def group_reader(settings: Settings, group: str) -> Consumer:
    """A client that reads the committed offsets of a group without becoming a member.

    An admin client must not read them: librdkafka 2.16 ends the process by a segmentation fault if
    the coordinator refuses the request of an admin client, as a broker does that has just started.
    With ``read_committed``, the broker refuses to return offsets while a transaction is about to
    change them.
    """
    return Consumer(consumer_config(settings, group) | {"isolation.level": "read_uncommitted"})


def group_places(
    settings: Settings,
    group: str,
    places: Sequence[TopicPartition],
    timeout: float = REQUEST_SECONDS,
) -> list[TopicPartition]:
    """`committed_places` by a client of its own, for a caller that asks rarely."""
    with closing(group_reader(settings, group)) as reader:
        return committed_places(reader, places, timeout)


def _only(futures: Mapping[str, Future[_Answer]], seconds: float) -> _Answer:
    (future,) = futures.values()
    try:
        return future.result(seconds)
    except TimeoutError:
        raise TimeoutError(f"no answer within {seconds:.1f} s") from None


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
