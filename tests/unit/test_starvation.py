"""A lane whose records do not come ends its process, and no other lane does."""

from __future__ import annotations

import pytest

from schemas.errors import FatalFailure
from stream_processors.starvation import Starvation


def starvation(end: int, *, marks_alone: bool = False) -> Starvation:
    """Of a partition that ends there, perhaps with marks of transactions."""
    return Starvation(lambda: end, lambda _offsets: not marks_alone)


def test_records_that_never_come_end_the_process() -> None:
    """Once they may be on their way; the second time they are lost on it."""
    looking = starvation(end=9)
    looking.look(5)
    with pytest.raises(FatalFailure, match="5 to 8"):
        looking.look(5)


def test_a_lane_that_moves_is_not_starved() -> None:
    """New records that are on their way each time."""
    looking = starvation(end=9)
    for offset in (5, 6, 8, 9, 8):
        looking.look(offset)


def test_silence_is_not_starvation() -> None:
    """Nothing to get, or nothing but marks."""
    for quiet in (starvation(end=5), starvation(end=9, marks_alone=True)):
        for _ in range(3):
            quiet.look(5)
