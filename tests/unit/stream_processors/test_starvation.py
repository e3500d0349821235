"""A lane whose records do not arrive ends its process; other lanes do not."""

from __future__ import annotations

import pytest

from schemas.errors import FatalFailure
from schemas.number_types import Offset
from stream_processors.lanes.inbox import IDLE_CHECK_SECONDS
from stream_processors.lanes.starvation import Starvation
from tests.support.clock import Clock


def starvation(clock: Clock, end: int, *, marks_alone: bool = False) -> Starvation:
    """Starvation of a partition with this end, maybe after transaction markers only."""
    return Starvation(lambda: Offset(end), lambda _offsets: not marks_alone, clock)


def test_records_that_never_arrive_end_the_process() -> None:
    """Missing records may be in flight at first; after the full time the process ends."""
    clock = Clock()
    looking = starvation(clock, end=9)
    looking.check(Offset(5))
    clock.now += IDLE_CHECK_SECONDS
    with pytest.raises(FatalFailure, match="5 to 8"):
        looking.check(Offset(5))


def test_a_lane_that_is_woken_again_and_again_is_not_starved() -> None:
    """A lane that is woken repeatedly without records is not starved before the full time."""
    clock = Clock()
    looking = starvation(clock, end=9)
    for _ in range(5):
        looking.check(Offset(5))
        clock.now += IDLE_CHECK_SECONDS / 10


def test_a_lane_with_progress_is_not_starved() -> None:
    """A lane whose offset moves is not starved."""
    clock = Clock()
    looking = starvation(clock, end=9)
    for offset in (5, 6, 8, 9, 8):
        looking.check(Offset(offset))
        clock.now += IDLE_CHECK_SECONDS


def test_silence_is_not_starvation() -> None:
    """A partition with no records to read, or only with markers, is not starved."""
    clock = Clock()
    for quiet in (starvation(clock, end=5), starvation(clock, end=9, marks_alone=True)):
        for _ in range(3):
            quiet.check(Offset(5))
            clock.now += IDLE_CHECK_SECONDS
