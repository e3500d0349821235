"""A lane starts only if its state, its commit and its source are consistent."""

from __future__ import annotations

import pytest

from schemas.errors import FatalFailure, SourceGap
from schemas.number_types import Offset
from stream_processors.lanes.source_check import NEVER, LaneSource, check_begin, check_start

FITTING = [
    pytest.param(
        LaneSource("s", Offset(0), Offset(0), Offset(NEVER)), None, id="a new deployment"
    ),
    pytest.param(
        LaneSource("s", Offset(0), Offset(9), Offset(NEVER)),
        None,
        id="records came before the first start",
    ),
    pytest.param(LaneSource("s", Offset(0), Offset(9), Offset(5)), 5, id="in the middle"),
    pytest.param(
        LaneSource("s", Offset(5), Offset(9), Offset(5)), 5, id="all before it has expired"
    ),
    pytest.param(
        LaneSource("s", Offset(9), Offset(9), Offset(9)),
        9,
        id="everything is read and has expired",
    ),
    pytest.param(
        LaneSource("s", Offset(0), Offset(9), Offset(NEVER)), 5, id="the commits have expired"
    ),
    pytest.param(
        LaneSource("s", Offset(0), Offset(0), Offset(NEVER)),
        0,
        id="an epoch before the first record",
    ),
]
STRANGE = [
    pytest.param(
        LaneSource("s", Offset(0), Offset(9), Offset(5)),
        None,
        "no state of it",
        id="the states were deleted",
    ),
    pytest.param(
        LaneSource("s", Offset(0), Offset(9), Offset(0)),
        None,
        "no state of it",
        id="also after offset 0",
    ),
    pytest.param(
        LaneSource("s", Offset(0), Offset(3), Offset(5)),
        5,
        "ends at 3",
        id="the source was made anew",
    ),
    pytest.param(
        LaneSource("s", Offset(0), Offset(9), Offset(3)),
        5,
        "committed up to offset 3",
        id="commits set back",
    ),
    pytest.param(
        LaneSource("s", Offset(0), Offset(9), Offset(7)),
        5,
        "committed up to offset 7",
        id="commits set forward",
    ),
]


@pytest.mark.parametrize(("source", "next_offset"), FITTING)
def test_a_consistent_state_starts(source: LaneSource, next_offset: Offset | None) -> None:
    """A lane starts after an ordinary stop, and after topics lost old records or commits."""
    check_start(source, next_offset)


@pytest.mark.parametrize(("source", "next_offset", "words"), STRANGE)
def test_an_inconsistent_state_is_refused(
    source: LaneSource, next_offset: Offset | None, words: str
) -> None:
    """An inconsistent start is refused with one line that has the offsets."""
    with pytest.raises(FatalFailure, match=words) as caught:
        check_start(source, next_offset)
    assert not isinstance(caught.value, SourceGap)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("next_offset", [None, 5])
def test_records_that_expired_unread_are_a_gap(next_offset: Offset | None) -> None:
    """Unread records that expired are a gap, at a start with or without a state and later."""
    committed = NEVER if next_offset is None else next_offset
    with pytest.raises(SourceGap, match="starts at 6"):
        check_start(LaneSource("s", Offset(6), Offset(9), Offset(committed)), next_offset)
    with pytest.raises(SourceGap, match="starts at 6"):
        check_begin("s", Offset(6), Offset(next_offset or 0))
