"""Distinguishes single bad records from a sink that rejects too many records."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from schemas.errors import TooManyPoison


class PoisonLimits(NamedTuple):
    """The limits beyond which poison records are not chance.

    ``run``: maximum number of successive poison records. ``share``: maximum share of the last
    ``window`` records, checked when there are at least ``at_least`` records.
    """

    run: int = 100
    share: float = 0.1
    window: int = 10_000
    at_least: int = 1_000


class PoisonGuard:
    """Counts poison records over the batches of one process."""

    def __init__(self, limits: PoisonLimits) -> None:
        self._limits = limits
        self._run = 0
        self._batches: deque[tuple[int, int]] = deque()
        self._seen = 0
        self._bad = 0

    def observe(self, count: int, poison: Sequence[int]) -> None:
        """Counts one batch in.

        Args:
            count: Number of records in the batch.
            poison: Positions of the poison records in the batch, in ascending order.

        Raises:
            TooManyPoison: A limit is exceeded.
        """
        self._count_run(count, poison)
        self._count_share(count, len(poison))

    def _count_run(self, count: int, poison: Sequence[int]) -> None:
        expected = 0  # a run at the end of the last batch continues at position 0
        for position in poison:
            self._run = self._run + 1 if position == expected else 1
            expected = position + 1
            if self._run >= self._limits.run:
                raise TooManyPoison(f"{self._run} poison records in a row")
        if expected != count:
            self._run = 0

    def _count_share(self, count: int, bad: int) -> None:
        self._batches.append((count, bad))
        self._seen += count
        self._bad += bad
        while self._batches and self._seen - self._batches[0][0] >= self._limits.window:
            old_count, old_bad = self._batches.popleft()
            self._seen -= old_count
            self._bad -= old_bad
        enough = self._seen >= self._limits.at_least
        if enough and self._bad > self._limits.share * self._seen:
            raise TooManyPoison(f"{self._bad} of the last {self._seen} records are poison")
