"""Turns to compute: one lane at a time; the lane with the least recent computing time is next.

The interpreter lock lets only one thread compute at a time, and switches threads after some
milliseconds. With turns that last for a whole transaction, a busy worker processes a quarter more,
and one lane commits while the next lane computes. To limit the latency of a quiet lane:

- it comes before the busy lanes, because it has had less time in the last seconds;
- while there is a quiet lane, busy lanes make shorter transactions. The quiet lane waits for the
  transaction in progress. A reader of a sync shard waits for it as well if both lanes write to the
  shard: a reader of committed records waits for all open transactions before them.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from schemas.errors import FatalFailure


class Turn(NamedTuple):
    """The limits of one turn."""

    writes: int
    """Maximum number of records that the transaction writes."""

    writes_between_pauses: int
    """Records between two pauses for the threads that fetch."""


LONG_TURN: Final = Turn(25_000, 25_000)
"""Some 0.05 s of work. All uncommitted records of lanes are in memory: with twice the size they
exceed the processor's caches, and each message takes a tenth longer."""

SHORT_TURN: Final = Turn(10_000, 2_500)
"""Used while a quiet lane is active: some 0.02 s, with pauses. After a pause, a lane waits for a
core again, so that busy lanes among themselves process a tenth more without pauses."""

HALF_LIFE_SECONDS: Final = 1.0
"""Half-life of a lane's computing time; a lane without a turn for this time is not active."""

_QUIET_SHARE: Final = 4
"""A lane is quiet if it has had less than this part (1/4) of the average time of lanes."""

_WAIT_SECONDS: Final = 60.0
"""Timeout of a wait for a turn. A turn takes a fraction of a second, unless its thread hangs."""


class Turns:
    """Assigns turns to the lanes of a process.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._is_taken = False
        self._waiting: list[LaneTurns] = []
        self._lanes: set[LaneTurns] = set()

    def join(self) -> LaneTurns:
        """Adds one more lane; `LaneTurns.leave` removes it."""
        lane = LaneTurns(self)
        with self._guard:
            self._lanes.add(lane)
        return lane

    def leave(self, lane: LaneTurns) -> None:
        """See `LaneTurns.leave`."""
        with self._guard:
            self._lanes.discard(lane)

    def begin(self, lane: LaneTurns) -> Turn:
        """Waits for the turn; see `LaneTurns.turn`."""
        with self._guard:
            waits = self._is_taken
            self._is_taken = True
            if waits:
                self._waiting.append(lane)
        if waits and not lane.granted.acquire(timeout=_WAIT_SECONDS):
            raise FatalFailure(f"no turn to compute within {_WAIT_SECONDS:.0f} s")
        with self._guard:
            lane.began = self._clock()
            return SHORT_TURN if self._somebody_is_quiet(lane) else LONG_TURN

    def end(self, lane: LaneTurns) -> None:
        """Passes the turn to the waiting lane with the least time."""
        with self._guard:
            now = self._clock()
            lane.computed_seconds = lane.recent_seconds(now) + now - lane.began
            lane.ended = now
            if not self._waiting:
                self._is_taken = False
                return
            next_lane = min(self._waiting, key=lambda waiting: waiting.recent_seconds(now))
            self._waiting.remove(next_lane)
        next_lane.granted.release()

    def _somebody_is_quiet(self, lane: LaneTurns) -> bool:
        now = lane.began
        active = [each for each in self._lanes if each is lane or each.is_active(now)]
        total = sum(each.recent_seconds(now) for each in active)
        return any(
            each is not lane and each.recent_seconds(now) * _QUIET_SHARE * len(active) < total
            for each in active
        )


class LaneTurns:
    """One lane's computing time and its next turn."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.granted = threading.Semaphore(0)
        self.computed_seconds = 0.0
        self.began = self.ended = float("-inf")

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Waits for the turn, and ends it.

        Yields:
            The limits of the transaction.

        Raises:
            FatalFailure: The turn of another lane does not end.
        """
        turn = self._turns.begin(self)
        try:
            yield turn
        finally:
            self._turns.end(self)

    def leave(self) -> None:
        """The lane takes no more turns."""
        self._turns.leave(self)

    def recent_seconds(self, now: float) -> float:
        """Seconds of the turns so far; older ones count less."""
        return self.computed_seconds * math.exp2((self.ended - now) / HALF_LIFE_SECONDS)

    def is_active(self, now: float) -> bool:
        """Whether the lane has computed recently."""
        return now - self.ended < HALF_LIFE_SECONDS
