"""Which records one entry becomes on the sync topic: one for each shard that has recipients."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from backends.kafka import partition_of
from schemas.recipients import key_parts
from stream_processors.core.audience import Audience

_REMEMBERED: Final = 200_000
"""Recipients whose partition is remembered, some 30 MB: murmur2 in Python takes microseconds."""

_partition_of = lru_cache(_REMEMBERED)(partition_of)


class Addresses(NamedTuple):
    """The (partition, key) of each record, for a topic with so many ``partitions``."""

    partitions: int
    records: Sequence[tuple[int, bytes]]


def addresses(recipients: Sequence[str], partitions: int) -> Sequence[tuple[int, bytes]]:
    """The (partition, key) of each sync record for these recipients.

    What is computed from an `Audience` is kept with it.
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
