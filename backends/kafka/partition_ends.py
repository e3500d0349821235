"""The ends of partitions, as the broker reports them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, not in __all__
    AdminClient,
    OffsetSpec,
)

PartitionPlace = tuple[str, int]
"""A topic and a partition."""

_LATEST: Final[OffsetSpec] = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # has no types


def stable_ends(
    admin: AdminClient, places: Collection[TopicPartition], seconds: float
) -> dict[PartitionPlace, int]:
    """The offset up to which a reader of committed records can read each partition.

    Args:
        admin: Sends the request.
        places: The partitions.
        seconds: The request timeout. The call takes at most one second more.

    Raises:
        KafkaException: The broker refuses, or does not answer.
        TimeoutError: The broker does not answer.
    """
    return _ends(admin, places, seconds, IsolationLevel.READ_COMMITTED)


def written_ends(
    admin: AdminClient, places: Collection[TopicPartition], seconds: float
) -> dict[PartitionPlace, int]:
    """The offset behind the last record of each partition, open transactions included.

    Arguments and errors as for `stable_ends`.
    """
    return _ends(admin, places, seconds, IsolationLevel.READ_UNCOMMITTED)


def _ends(
    admin: AdminClient,
    places: Collection[TopicPartition],
    seconds: float,
    level: IsolationLevel,
) -> dict[PartitionPlace, int]:
    if not places:
        return {}
    asked = {TopicPartition(place.topic, place.partition): _LATEST for place in places}
    answers = admin.list_offsets(asked, isolation_level=level, request_timeout=seconds)
    return {
        (place.topic, place.partition): int(answer.result(seconds + 1).offset)
        for place, answer in answers.items()
    }
