"""The pause of a lane between transactions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stream_processors.lanes.transaction_pace import (
    MAX_PAUSE_SECONDS,
    SMALL_TRANSACTION,
    TRANSACTION_INTERVAL_SECONDS,
    next_begin,
)

durations = st.floats(0, 60)
counts = st.integers(0, 100_000)


@given(durations, counts)
def test_a_pause_is_bounded(duration: float, records: int) -> None:
    """The pause after a transaction ends within its bound, whatever the transaction took."""
    begin = next_begin(0, duration, records)
    assert (
        TRANSACTION_INTERVAL_SECONDS
        <= begin
        <= max(TRANSACTION_INTERVAL_SECONDS, duration + MAX_PAUSE_SECONDS)
    )


@given(durations, st.integers(SMALL_TRANSACTION, 100_000))
def test_a_lane_with_much_work_has_no_pause(duration: float, records: int) -> None:
    """After a large transaction only the interval from its begin counts."""
    assert next_begin(0, duration, records) == TRANSACTION_INTERVAL_SECONDS


@given(durations)
def test_a_turn_without_records_has_no_pause(duration: float) -> None:
    """A wake-up without records, such as a change of the epoch, delays no message."""
    assert next_begin(0, duration, 0) == TRANSACTION_INTERVAL_SECONDS


@given(
    st.floats(TRANSACTION_INTERVAL_SECONDS, MAX_PAUSE_SECONDS),
    st.floats(0, 10),
    st.integers(1, SMALL_TRANSACTION - 1),
)
def test_a_slower_broker_gets_a_longer_pause(duration: float, longer: float, records: int) -> None:
    """The pause grows with the duration of the small transaction before it."""
    pause = next_begin(0, duration, records) - duration
    slower = duration + longer
    assert pause > 0
    assert next_begin(0, slower, records) - slower >= pause - 1e-9
