"""Turns of writers: the writer with the least recent time is next, and does not wait long."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_processors.commit.turns import (
    HALF_LIFE_SECONDS,
    LONG_TURN,
    SHORT_TURN,
    Turn,
    Turns,
    WriterTurns,
)
from tests.support.clock import Clock
from tests.support.processes import wait_until


def take(clock: Clock, writer: WriterTurns, seconds: float) -> Turn:
    """Take a turn of this length; return the turn."""
    with writer.turn() as turn:
        clock.now += seconds
    return turn


def queue(writer: WriterTurns, name: str, order: list[str]) -> threading.Thread:
    """Start a thread that waits for the turn and then appends its name."""

    def run() -> None:
        with writer.turn():
            order.append(name)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def waiting(turns: Turns, count: int) -> Callable[[], bool]:
    """Return a condition: this number of threads waits for a turn."""
    return lambda: len(turns._waiting) == count  # noqa: SLF001 - shows that a thread waits


def test_the_lane_with_the_least_time_is_next() -> None:
    """The waiting writer with the least time is next, whatever the order of arrival."""
    clock = Clock()
    turns = Turns(clock)
    writers = {name: turns.join() for name in ("busy", "middling", "quiet", "now")}
    take(clock, writers["quiet"], 0.001)
    take(clock, writers["middling"], 0.05)
    take(clock, writers["busy"], 0.2)
    order: list[str] = []
    threads = []
    with writers["now"].turn():
        for count, name in enumerate(("busy", "middling", "quiet"), 1):
            threads.append(queue(writers[name], name, order))
            wait_until(waiting(turns, count), f"{name} waits")
    for thread in threads:
        thread.join(10)
    assert order == ["quiet", "middling", "busy"]


def test_only_one_lane_computes_at_a_time() -> None:
    """With six threads and 200 turns each, at most one thread has the turn at any time."""
    turns = Turns()
    inside: list[int] = []
    worst: list[int] = []

    def run(writer: WriterTurns) -> None:
        for _ in range(200):
            with writer.turn():
                inside.append(1)
                worst.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=run, args=(turns.join(),), daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(worst) == 6 * 200
    assert max(worst) == 1


def test_busy_lanes_among_themselves_make_long_transactions() -> None:
    """Without a quiet writer the transactions are long, for the highest throughput."""
    clock = Clock()
    turns = Turns(clock)
    writers = [turns.join() for _ in range(8)]
    for _ in range(5):
        turns_taken = [take(clock, writer, 0.1) for writer in writers]
    assert turns_taken == [LONG_TURN] * 8


def test_beside_a_quiet_lane_transactions_are_short() -> None:
    """Transactions are short while a quiet writer was active recently, and long afterwards."""
    clock = Clock()
    turns = Turns(clock)
    busy, quiet = turns.join(), turns.join()
    for _ in range(5):
        take(clock, quiet, 0.001)
        turn = take(clock, busy, 0.1)
    assert turn == SHORT_TURN
    clock.now += HALF_LIFE_SECONDS
    assert take(clock, busy, 0.1) == LONG_TURN


def test_a_removed_lane_does_not_count() -> None:
    """A writer that left its worker no longer shortens the transactions of other writers."""
    clock = Clock()
    turns = Turns(clock)
    busy, quiet = turns.join(), turns.join()
    take(clock, quiet, 0.001)
    take(clock, busy, 0.1)
    assert take(clock, busy, 0.1) == SHORT_TURN
    quiet.leave()
    assert take(clock, busy, 0.1) == LONG_TURN


def test_an_error_in_a_turn_ends_it() -> None:
    """An error in a turn releases the turn for the next writer."""
    turns = Turns()
    first, second = turns.join(), turns.join()
    with pytest.raises(ValueError, match="broken"), first.turn():
        raise ValueError("broken")
    with second.turn() as writes:
        assert writes


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0.0001, 0.5)), min_size=1, max_size=60))
def test_every_lane_receives_turns(demands: list[tuple[int, float]]) -> None:
    """The recent time of each writer is not negative, and the sum over all writers is bounded.

    The waiting writer with the lowest value is next, so every writer gets its turn.
    """
    clock = Clock()
    turns = Turns(clock)
    writers = [turns.join() for _ in range(4)]
    for place, seconds in demands:
        take(clock, writers[place], seconds)
    had = [writer.recent_seconds(clock.now) for writer in writers]
    assert all(each >= 0 for each in had)
    assert sum(had) <= HALF_LIFE_SECONDS / 0.69 + 0.5  # the decayed sum of one second per second
