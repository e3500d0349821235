"""Turns to compute: one writer at a time; the writer with the least recent computing time is next.

The interpreter lock lets only one thread compute at a time, and switches threads after some
milliseconds. With turns that last for a whole transaction, a busy worker processes a quarter more,
and one writer commits while the next writer computes. To limit the latency of a quiet writer:

- it comes before the busy writers, because it has had less time in the last seconds;
- while there is a quiet writer, busy writers make shorter transactions. The quiet writer waits for
  the transaction in progress. A reader of a sync shard waits for it as well if both writers write
  to the shard: a reader of committed records waits for all open transactions before them.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
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
"""Some 0.05 s of work. All uncommitted records of writers are in memory: with twice the size they
exceed the processor's caches, and each message takes a tenth longer."""

SHORT_TURN: Final = Turn(10_000, 2_500)
"""Used while a quiet writer or lane is active: some 0.02 s, with pauses. After a pause, a writer
waits for a core again, so that busy writers process a tenth more without pauses."""

HALF_LIFE_SECONDS: Final = 1.0
"""Half-life of computing time and of records. Without them for this time, a lane or a writer is
not active."""

QUIET_SHARE: Final = 4
"""A writer is quiet if it has had less than this part (1/4) of the average time of writers."""

_WAIT_SECONDS: Final = 60.0
"""Timeout of a wait for a turn. A turn takes a fraction of a second, unless its thread hangs."""


def decayed(amount: float, seconds: float) -> float:
    """An amount of this age in seconds, of which older ones count less."""
    return amount * math.exp2(-seconds / HALF_LIFE_SECONDS)


def is_quiet(amount: float, amounts: Sequence[float]) -> bool:
    """Whether one of these amounts is far below their average."""
    return amount * QUIET_SHARE * len(amounts) < sum(amounts)


class Turns:
    """Assigns turns to the writers of a process.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._is_taken = False
        self._waiting: list[WriterTurns] = []
        self._writers: set[WriterTurns] = set()

    def join(self) -> WriterTurns:
        """Adds one more writer; `WriterTurns.leave` removes it."""
        writer = WriterTurns(self)
        with self._guard:
            self._writers.add(writer)
        return writer

    def leave(self, writer: WriterTurns) -> None:
        """See `WriterTurns.leave`."""
        with self._guard:
            self._writers.discard(writer)

    def begin(self, writer: WriterTurns, *, is_short: bool) -> Turn:
        """Waits for the turn; see `WriterTurns.turn`."""
        with self._guard:
            waits = self._is_taken
            self._is_taken = True
            if waits:
                self._waiting.append(writer)
        if waits and not writer.granted.acquire(timeout=_WAIT_SECONDS):
            raise FatalFailure(f"no turn to compute within {_WAIT_SECONDS:.0f} s")
        with self._guard:
            writer.began = self._clock()
            return SHORT_TURN if is_short or self._somebody_is_quiet(writer) else LONG_TURN

    def end(self, writer: WriterTurns) -> None:
        """Passes the turn to the waiting writer with the least time."""
        with self._guard:
            now = self._clock()
            writer.computed_seconds = writer.recent_seconds(now) + now - writer.began
            writer.ended = now
            if not self._waiting:
                self._is_taken = False
                return
            next_writer = min(self._waiting, key=lambda waiting: waiting.recent_seconds(now))
            self._waiting.remove(next_writer)
        next_writer.granted.release()

    def _somebody_is_quiet(self, writer: WriterTurns) -> bool:
        now = writer.began
        active = [each for each in self._writers if each is writer or each.is_active(now)]
        recent = {each: each.recent_seconds(now) for each in active}
        amounts = list(recent.values())
        return any(each is not writer and is_quiet(recent[each], amounts) for each in active)


class WriterTurns:
    """One writer's computing time and its next turn."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.granted = threading.Semaphore(0)
        self.computed_seconds = 0.0
        self.began = self.ended = float("-inf")

    @contextmanager
    def turn(self, *, is_short: bool = False) -> Iterator[Turn]:
        """Waits for the turn, and ends it.

        Args:
            is_short: Whether the turn is short in any case.

        Yields:
            The limits of the transaction.

        Raises:
            FatalFailure: The turn of another writer does not end.
        """
        turn = self._turns.begin(self, is_short=is_short)
        try:
            yield turn
        finally:
            self._turns.end(self)

    def leave(self) -> None:
        """The writer takes no more turns."""
        self._turns.leave(self)

    def recent_seconds(self, now: float) -> float:
        """Seconds of the turns so far; older ones count less."""
        return decayed(self.computed_seconds, now - self.ended)

    def is_active(self, now: float) -> bool:
        """Whether the writer has computed recently."""
        return now - self.ended < HALF_LIFE_SECONDS
