"""The sync records of one entry: one record for each shard that has recipients."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from backends.kafka.clients import partition_of
from schemas.recipients import key_parts
from stream_processors.core.audience import Audience

_REMEMBERED: Final = 200_000
"""Number of recipients in the cache of partitions, some 30 MB: murmur2 in Python takes
microseconds."""

_partition_of = lru_cache(_REMEMBERED)(partition_of)


class Addresses(NamedTuple):
    """The (partition, key) of each record, for a topic with this number of ``partitions``."""

    partitions: int
    records: Sequence[tuple[int, bytes]]


def addresses(recipients: Sequence[str], partitions: int) -> Sequence[tuple[int, bytes]]:
    """The (partition, key) of each sync record for these recipients.

    The result for an `Audience` is cached in the audience.
    """
    if type(recipients) is not Audience:
        return _addressed(recipients, partitions)
    found: Addresses | None = recipients.addressed
    if found is None or found.partitions != partitions:
        found = recipients.addressed = Addresses(partitions, _addressed(recipients, partitions))
    return found.records


def _addressed(recipients: Iterable[str], partitions: int) -> Sequence[tuple[int, bytes]]:
    by_partition: defaultdict[int, list[str]] = defaultdict(list)
    for user in recipients:
        by_partition[_partition_of(user, partitions)].append(user)
    return [
        (partition, key) for partition, users in by_partition.items() for key in key_parts(users)
    ]
