"""The membership periods of one person in one conversation: numbered, merged, and bounded.

Each period has a number below `schemas.limits.MAX_PERIODS`, which identifies its row in the store.
The numbers of all periods of a person are 0, 1, 2 … without holes, so the present period of a
member has the lowest number that no closed period has.
"""

from __future__ import annotations

from itertools import count
from typing import NamedTuple

from schemas.number_types import SeqId


class ClosedPeriod(NamedTuple):
    """A closed period: SeqIds ``first`` to ``last``, both included."""

    first: SeqId
    last: SeqId
    number: int


class BegunPeriod(NamedTuple):
    """The period that a join begins or continues, and the other, closed periods."""

    number: int
    since: SeqId
    closed: tuple[ClosedPeriod, ...]


def begin(closed: tuple[ClosedPeriod, ...], seq: SeqId, most: int) -> BegunPeriod:
    """The period that a join at SeqId ``seq`` leads to.

    A join right after the leave of the same person continues that period. If there are ``most``
    periods, the one with the fewest SeqIds is forgotten (the earliest of several), and its number
    is reused. So other members cannot revoke a long period by forcing short periods on a person.

    Args:
        closed: The earlier periods, in the order in which they ended.
        seq: The SeqId of the join.
        most: Maximum number of periods, including the new one.
    """
    if closed and closed[-1].last == seq - 1:
        return BegunPeriod(closed[-1].number, closed[-1].first, closed[:-1])
    if len(closed) < most:
        return BegunPeriod(free_number(closed), seq, closed)
    shortest = min(closed, key=lambda period: (period.last - period.first, period.first))
    return BegunPeriod(
        shortest.number, seq, tuple(period for period in closed if period is not shortest)
    )


def free_number(closed: tuple[ClosedPeriod, ...]) -> int:
    """The number of the period that is not closed."""
    used = {period.number for period in closed}
    return next(number for number in count() if number not in used)
