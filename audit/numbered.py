"""The numbers of membership periods: which period a join begins, and which rows the store has.

The store has at most `MAX_PERIODS` periods of a person in a conversation. Each has a number. A
join right after a leave continues the period. If there are `MAX_PERIODS` periods, the shortest one
(fewest SeqIds; the earliest of equals) passes its number to the next period.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from schemas.limits import MAX_PERIODS
from schemas.number_types import SeqId


class _Numbered(NamedTuple):
    """A period: its first SeqId, its last join, and its last leave (0 if none)."""

    since: SeqId
    joined: int
    left: int


class NumberedPeriods:
    """The periods of one person in one conversation.

    Args:
        changes: (SeqId of the entry, whether the entry is a join), in order.
    """

    __slots__ = ("_periods", "number")

    def __init__(self, changes: Iterable[tuple[SeqId, bool]]) -> None:
        self._periods: dict[int, _Numbered] = {}
        self.number = 0
        for seq, joined in changes:
            self.take(seq, joined=joined)

    def begun_by(self, seq: SeqId) -> tuple[int, SeqId]:
        """(number, first SeqId) of the period that a join at a SeqId begins or continues."""
        periods = self._periods
        if periods and periods[self.number].left == seq - 1:
            return self.number, periods[self.number].since
        if len(periods) < MAX_PERIODS:
            return len(periods), seq
        shortest = min(
            periods, key=lambda n: (periods[n].left - periods[n].since, periods[n].since)
        )
        return shortest, seq

    def take(self, seq: SeqId, *, joined: bool) -> None:
        """Process the next change."""
        if joined:
            self.number, since = self.begun_by(seq)
            # The row of an earlier leave remains until the next leave overwrites it.
            left = self._periods[self.number].left if self.number in self._periods else 0
            self._periods[self.number] = _Numbered(since, seq, left)
        elif self.number in self._periods:
            self._periods[self.number] = self._periods[self.number]._replace(left=seq)

    def stored(self) -> set[int]:
        """The SeqIds of the changes that the table by user still has; may include 0."""
        return {seq for period in self._periods.values() for seq in period[1:]}


class NumberedPeople:
    """The periods of each person who has left a conversation once. For others: period 0."""

    def __init__(self) -> None:
        self._periods: dict[str, NumberedPeriods] = {}

    def note(self, user: str, changes: Sequence[tuple[SeqId, bool]]) -> None:
        """Process the last change of a person; ``changes`` are all changes so far."""
        seq, joined = changes[-1]
        if user in self._periods:
            self._periods[user].take(seq, joined=joined)
        elif not joined:
            self._periods[user] = NumberedPeriods(changes)

    def begun_by(self, user: str, seq: SeqId) -> tuple[int, SeqId]:
        """(number, first SeqId) of the period that a join of a person begins or continues."""
        periods = self._periods.get(user)
        return (0, seq) if periods is None else periods.begun_by(seq)

    def number(self, user: str) -> int:
        """The number of the last period of a person."""
        periods = self._periods.get(user)
        return 0 if periods is None else periods.number
