"""A sink's counts of each partition, which are part of the notes of its commits."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from msgspec import Struct
from msgspec.structs import asdict


class DeliveryCounts(Struct, frozen=True):
    """Counts of one partition. `CommitNote` has a field of the same name for each of them.

    Attributes:
        dead_letters: Records that the store refuses.
        written: Deliveries (a record and one of its recipients) to active recipients.
        skipped: Deliveries to inactive recipients, see `schemas.lifetime`.
        records: Finished records. `sinks.base.progress` counts them.
    """

    dead_letters: int = 0
    written: int = 0
    skipped: int = 0
    records: int = 0

    def __add__(self, other: DeliveryCounts) -> DeliveryCounts:
        more = asdict(other)
        return DeliveryCounts(**{name: count + more[name] for name, count in asdict(self).items()})


CountsOf: TypeAlias = Mapping[int, DeliveryCounts]
"""Counts by the number of a partition; a partition without counts may be absent."""

NO_COUNTS: Final[CountsOf] = MappingProxyType({})


def added(first: CountsOf, second: CountsOf) -> CountsOf:
    """The sums of two counts, by partition."""
    nothing = DeliveryCounts()
    return {
        number: first.get(number, nothing) + second.get(number, nothing)
        for number in {*first, *second}
    }
