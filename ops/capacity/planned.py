"""A plan: the number of each part, and sizes."""

from __future__ import annotations

from msgspec import Struct


class Need(Struct, frozen=True):
    """A number of processes, partitions or machines.

    Attributes:
        part: The name of the part.
        limits: The number that each limit requires, rounded up.
    """

    part: str
    limits: dict[str, int]

    @property
    def count(self) -> int:
        """The number that satisfies all limits."""
        return max(self.limits.values())


class Quantity(Struct, frozen=True):
    """A size or a rate, for example of a disk. Not rounded."""

    what: str
    value: float
    unit: str


class Plan(Struct, frozen=True):
    """The result.

    ``missed``: what this version cannot do at the workload, one sentence each.
    """

    needs: tuple[Need, ...]
    quantities: tuple[Quantity, ...]
    missed: tuple[str, ...]

    def count(self, part: str) -> int:
        """The number of a part."""
        return next(need.count for need in self.needs if need.part == part)
