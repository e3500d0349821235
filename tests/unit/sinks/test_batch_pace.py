"""The interval between the batches of a sink."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sinks.base.batch_pace import BATCH_INTERVAL_SECONDS, SMALL_BATCH, BatchPace
from tests.support.clock import Clock

ROUNDING = 1e-9
ROOM = 1_000


def test_the_first_small_batch_begins_at_once_and_the_next_waits() -> None:
    """A record after a pause is not delayed; a second small batch waits for the interval."""
    clock = Clock()
    pace = BatchPace(clock)
    assert pace.may_begin(1, ROOM)
    assert not pace.may_begin(SMALL_BATCH - 1, ROOM)
    clock.now += BATCH_INTERVAL_SECONDS
    assert pace.may_begin(SMALL_BATCH - 1, ROOM)
    assert not pace.may_begin(1, ROOM)


def test_large_batches_and_batches_without_records_do_not_wait() -> None:
    """Much work is not delayed, and neither is a commit that needs no request to the store."""
    pace = BatchPace(Clock())
    assert all(pace.may_begin(count, ROOM) for count in (1, SMALL_BATCH, SMALL_BATCH, 0, 0))


def test_a_full_batch_does_not_wait() -> None:
    """A few large records can fill a batch, and the loop cannot read while it holds one."""
    pace = BatchPace(Clock())
    assert pace.may_begin(1, ROOM)
    assert pace.may_begin(2, 0)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, SMALL_BATCH - 1)), max_size=50))
def test_small_batches_keep_their_interval(asked: list[tuple[float, int]]) -> None:
    """Small batches begin at least an interval apart, and each within the interval."""
    clock = Clock()
    pace = BatchPace(clock)
    begun: list[float] = []
    for pause, records in asked:
        clock.now += pause
        if pace.may_begin(records, ROOM):
            begun.append(clock.now)
        else:
            assert clock.now - begun[-1] < BATCH_INTERVAL_SECONDS + ROUNDING
    assert all(
        later - former >= BATCH_INTERVAL_SECONDS - ROUNDING for former, later in pairwise(begun)
    )
