"""The figures of a benchmark, the targets of a figure, and the failure of a measurement."""

from __future__ import annotations

import statistics
from typing import Literal

from msgspec import Struct


class WrongOutput(Exception):
    """A worker under measurement lost or duplicated records, so its rate is meaningless."""


class Target(Struct, frozen=True):
    """A bound that a figure has to reach.

    Attributes:
        of: The variant that is judged.
        value: The lower bound; the upper bound if ``direction`` is ``at_most``.
        against: A variant: then ``value`` is a share of this variant, round by round. Empty:
            ``value`` is in the unit of the figure.
        if_missed: The measured reason and the next lever, for the report of a missed target.
    """

    of: str
    value: float
    against: str = ""
    direction: Literal["at_least", "at_most"] = "at_least"
    if_missed: str = ""


class Figure(Struct, frozen=True):
    """One quantity, measured for several variants in interleaved rounds of one run.

    Attributes:
        name: The quantity.
        unit: The unit of all values.
        rounds: The value of each round, by variant. Round n of all variants was measured together.
        targets: The bounds that the figure has to reach.
    """

    name: str
    unit: str
    rounds: dict[str, list[float]]
    targets: list[Target] = []

    def median(self, variant: str) -> float:
        """The median of a variant's rounds."""
        return statistics.median(self.rounds[variant])

    def reached(self, target: Target) -> float:
        """The value to compare with a target: a median, or the median of all rounds' shares."""
        if not target.against:
            return self.median(target.of)
        pairs = zip(self.rounds[target.of], self.rounds[target.against], strict=True)
        return statistics.median(ours / other for ours, other in pairs)

    def is_met(self, target: Target) -> bool:
        """Whether the figure reaches the target."""
        reached = self.reached(target)
        return (
            reached <= target.value if target.direction == "at_most" else reached >= target.value
        )


class Report(Struct):
    """All figures of one run.

    Attributes:
        commit: The measured version, as git names it.
        machine: Processors and the versions of interpreter and system.
        figures: In the order of measurement.
    """

    commit: str
    machine: str
    figures: list[Figure]
