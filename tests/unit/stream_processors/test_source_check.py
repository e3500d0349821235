"""A lane starts only if its state, its commit and its source are consistent."""

from __future__ import annotations

import pytest

from schemas.errors import FatalFailure, SourceGap
from stream_processors.lanes.source_check import NEVER, LaneSource, check_begin, check_start

FITTING = [
    pytest.param(LaneSource("s", 0, 0, NEVER), None, id="a new deployment"),
    pytest.param(LaneSource("s", 0, 9, NEVER), None, id="records came before the first start"),
    pytest.param(LaneSource("s", 0, 9, 5), 5, id="in the middle"),
    pytest.param(LaneSource("s", 5, 9, 5), 5, id="all before it has expired"),
    pytest.param(LaneSource("s", 9, 9, 9), 9, id="everything is read and has expired"),
    pytest.param(LaneSource("s", 0, 9, NEVER), 5, id="the commits have expired"),
    pytest.param(LaneSource("s", 0, 0, NEVER), 0, id="an epoch before the first record"),
]
STRANGE = [
    pytest.param(LaneSource("s", 0, 9, 5), None, "no state of it", id="the states were deleted"),
    pytest.param(LaneSource("s", 0, 9, 0), None, "no state of it", id="also after offset 0"),
    pytest.param(LaneSource("s", 0, 3, 5), 5, "ends at 3", id="the source was made anew"),
    pytest.param(LaneSource("s", 0, 9, 3), 5, "committed up to offset 3", id="commits set back"),
    pytest.param(
        LaneSource("s", 0, 9, 7), 5, "committed up to offset 7", id="commits set forward"
    ),
]


@pytest.mark.parametrize(("source", "next_offset"), FITTING)
def test_a_consistent_state_starts(source: LaneSource, next_offset: int | None) -> None:
    """A lane starts after an ordinary stop, and after topics lost old records or commits."""
    check_start(source, next_offset)


@pytest.mark.parametrize(("source", "next_offset", "words"), STRANGE)
def test_an_inconsistent_state_is_refused(
    source: LaneSource, next_offset: int | None, words: str
) -> None:
    """An inconsistent start is refused with one line that has the offsets."""
    with pytest.raises(FatalFailure, match=words) as caught:
        check_start(source, next_offset)
    assert not isinstance(caught.value, SourceGap)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("next_offset", [None, 5])
def test_records_that_expired_unread_are_a_gap(next_offset: int | None) -> None:
    """Unread records that expired are a gap, at a start with or without a state and later."""
    committed = NEVER if next_offset is None else next_offset
    with pytest.raises(SourceGap, match="starts at 6"):
        check_start(LaneSource("s", 6, 9, committed), next_offset)
    with pytest.raises(SourceGap, match="starts at 6"):
        check_begin("s", 6, next_offset or 0)
