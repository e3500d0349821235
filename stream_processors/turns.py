"""Whose turn it is to compute: one lane at a time, and first the one that has had the least.

The threads of one interpreter compute one at a time anyway. Where they take turns by the
transaction and not by the millisecond, a busy worker does a quarter more, and the first lane
commits while the second computes. A quiet lane must not pay for that with the time of its people:

- it comes before the busy ones, because it has had less of the last seconds than they;
- while there is one, the busy ones make shorter transactions. It waits for the one under way, and
  so does every reader of a sync shard that the two have in common: a reader of committed records
  waits for all transactions that are open.
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
    """What one turn may do."""

    writes: int
    """Records that the transaction writes at most."""

    breath: int
    """Records between two pauses that let in the threads that fetch."""


LONG_TURN: Final = Turn(25_000, 25_000)
"""Some 0.05 s of work. All that lanes have written and not committed is memory: with twice as
much the processor's caches no longer help, and each message takes a tenth longer."""

SHORT_TURN: Final = Turn(10_000, 2_500)
"""While a quiet lane is about: some 0.02 s, with pauses. A lane that pauses waits for a core
again, so that busy lanes among themselves do a tenth more without."""

RECENT_SECONDS: Final = 1.0
"""After this half of what a lane has had is forgotten, and a silent lane is no longer about."""

_QUIET_SHARE: Final = 4
"""A lane is quiet that has had less than this part of what lanes have had on average."""

_WAIT_SECONDS: Final = 60.0
"""A turn is over in a fraction of a second; one that is not comes from a thread that hangs."""


class Turns:
    """Gives the lanes of a process their turns.

    Args:
        clock: Seconds, only growing.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._is_taken = False
        self._waiting: list[Seat] = []
        self._seats: set[Seat] = set()

    def join(self) -> Seat:
        """A place for one more lane; `Seat.leave` gives it back."""
        seat = Seat(self)
        with self._guard:
            self._seats.add(seat)
        return seat

    def leave(self, seat: Seat) -> None:
        """See `Seat.leave`."""
        with self._guard:
            self._seats.discard(seat)

    def begin(self, seat: Seat) -> Turn:
        """Waits for the turn; see `Seat.turn`."""
        with self._guard:
            waits = self._is_taken
            self._is_taken = True
            if waits:
                self._waiting.append(seat)
        if waits and not seat.granted.acquire(timeout=_WAIT_SECONDS):
            raise FatalFailure(f"no turn to compute within {_WAIT_SECONDS:.0f} s")
        with self._guard:
            seat.began = self._clock()
            return SHORT_TURN if self._somebody_is_quiet(seat) else LONG_TURN

    def end(self, seat: Seat) -> None:
        """Hands the turn to whoever waits and has had the least."""
        with self._guard:
            now = self._clock()
            seat.had = seat.had_by(now) + now - seat.began
            seat.ended = now
            if not self._waiting:
                self._is_taken = False
                return
            following = min(self._waiting, key=lambda waiting: waiting.had_by(now))
            self._waiting.remove(following)
        following.granted.release()

    def _somebody_is_quiet(self, seat: Seat) -> bool:
        now = seat.began
        about = [each for each in self._seats if each is seat or each.is_about(now)]
        had = sum(each.had_by(now) for each in about)
        return any(
            each is not seat and each.had_by(now) * _QUIET_SHARE * len(about) < had
            for each in about
        )


class Seat:
    """One lane's place among the others: what it has had, and its next turn."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.granted = threading.Semaphore(0)
        self.had = 0.0
        self.began = self.ended = float("-inf")

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Waits for the turn, and ends it.

        Yields:
            What the transaction may do.

        Raises:
            FatalFailure: Somebody else's turn does not end.
        """
        turn = self._turns.begin(self)
        try:
            yield turn
        finally:
            self._turns.end(self)

    def leave(self) -> None:
        """The lane takes no more turns."""
        self._turns.leave(self)

    def had_by(self, now: float) -> float:
        """Seconds of the turns so far, the older the less they count."""
        return self.had * math.exp2((self.ended - now) / RECENT_SECONDS)

    def is_about(self, now: float) -> bool:
        """Whether the lane has computed lately."""
        return now - self.ended < RECENT_SECONDS
