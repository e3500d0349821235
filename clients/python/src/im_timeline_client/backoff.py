"""Pauses between two attempts: growing, bounded, and random, so that clients spread."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Final

_MOST_DOUBLINGS: Final = 30
"""More doublings would not change a bounded pause."""


def pauses(first: float, longest: float) -> Iterator[float]:
    """Yield the pauses in seconds, without end.

    Each pause is between half and all of a limit ("equal jitter"). The limit begins at ``first``,
    doubles after each attempt, and is at most ``longest``.
    """
    for number in itertools.count():
        limit = min(longest, first * 2 ** min(number, _MOST_DOUBLINGS))
        yield limit * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
