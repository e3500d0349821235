"""The first and the last offsets of partitions, as the broker reports them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, TypeAlias

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, not in __all__
    AdminClient,
    OffsetSpec,
)
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from schemas.errors import ServerUnavailable
from schemas.number_types import Offset

PartitionPlace = tuple[str, int]
"""A topic and a partition."""

OffsetQuery: TypeAlias = Callable[
    [AdminClient, Collection[TopicPartition], float], dict[PartitionPlace, Offset]
]
"""One of the functions of this module that ask an admin client."""

_EARLIEST: Final[OffsetSpec] = OffsetSpec.earliest()  # type: ignore[no-untyped-call]  # has no types
_LEADER_PAUSE_SECONDS: Final = 0.1
_WITHOUT_LEADER: Final = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError._NOENT,  # noqa: SLF001  # public, and named with an underscore
    }
)
"""Errors while a new topic gets its leaders, and after a change of leaders.

librdkafka reports `_NOENT` ("No leaders found") where the broker names no leader at all, as while
a topic is deleted and created again.
"""

_LATEST: Final[OffsetSpec] = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # has no types


def stable_ends(
    admin: AdminClient, places: Collection[TopicPartition], seconds: float
) -> dict[PartitionPlace, Offset]:
    """The offset up to which a reader of committed records can read each partition.

    Args:
        admin: Sends the request.
        places: The partitions.
        seconds: The request timeout. The call takes at most one second more. The request is
            repeated during this time while a partition has no leader.

    Raises:
        KafkaException: The broker refuses, or does not answer.
        TimeoutError: The broker does not answer.
    """
    return _offsets(admin, places, seconds, _LATEST, IsolationLevel.READ_COMMITTED)


def written_ends(
    admin: AdminClient, places: Collection[TopicPartition], seconds: float
) -> dict[PartitionPlace, Offset]:
    """The offset behind the last record of each partition, open transactions included.

    Arguments and errors as for `stable_ends`.
    """
    return _offsets(admin, places, seconds, _LATEST, IsolationLevel.READ_UNCOMMITTED)


def begin_offsets(
    admin: AdminClient, places: Collection[TopicPartition], seconds: float
) -> dict[PartitionPlace, Offset]:
    """The oldest offset that the broker holds of each partition.

    Arguments and errors as for `stable_ends`.
    """
    return _offsets(admin, places, seconds, _EARLIEST, IsolationLevel.READ_UNCOMMITTED)


def consumer_bounds(
    consumer: Consumer, place: TopicPartition, seconds: float
) -> tuple[Offset, Offset]:
    """The oldest offset of a partition, and the offset up to which the consumer can read.

    For a caller that has a consumer, but no admin client.

    Args:
        consumer: Sends the requests, one for each bound.
        place: The partition.
        seconds: The request timeout.

    Raises:
        KafkaException: The broker refuses, or does not answer.
        ServerUnavailable: The broker does not answer.
    """
    watermarks = consumer.get_watermark_offsets(place, timeout=seconds)
    if watermarks is None:
        raise ServerUnavailable(f"no offsets of {place.topic} within {seconds:.0f} s")
    low, high = watermarks
    return Offset(low), Offset(high)


def _offsets(
    admin: AdminClient,
    places: Collection[TopicPartition],
    seconds: float,
    spec: OffsetSpec,
    level: IsolationLevel,
) -> dict[PartitionPlace, Offset]:
    """The offsets. A client that has not heard of a partition's leader yet asks again."""
    if not places:
        return {}
    attempts = Retrying(
        retry=retry_if_exception(_is_without_leader),
        stop=stop_after_delay(seconds),
        wait=wait_fixed(_LEADER_PAUSE_SECONDS),
        reraise=True,
    )
    return attempts(_offsets_once, admin, places, seconds, spec, level)


def _is_without_leader(error: BaseException) -> bool:
    return isinstance(error, KafkaException) and error.args[0].code() in _WITHOUT_LEADER


def _offsets_once(
    admin: AdminClient,
    places: Collection[TopicPartition],
    seconds: float,
    spec: OffsetSpec,
    level: IsolationLevel,
) -> dict[PartitionPlace, Offset]:
    asked = {TopicPartition(place.topic, place.partition): spec for place in places}
    answers = admin.list_offsets(asked, isolation_level=level, request_timeout=seconds)
    return {
        (place.topic, place.partition): Offset(answer.result(seconds + 1).offset)
        for place, answer in answers.items()
    }
