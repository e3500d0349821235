"""What a lane has been handed and has not committed: bounded, without anybody's waiting for it.

Who brings records is the event loop, and it brings them for every lane. So a lane that has enough
does not make it wait: it says so, and the partition is not fetched until there is room.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from stream_processors.sequencer import SourceRecord

ENOUGH: Final = 40_000
"""Records that a lane holds before its partition is no longer fetched.

What is on its way by then is taken as well. At some 700 bytes a record 30 MB.
"""

ROOM: Final = ENOUGH // 2
"""With so many left the partition is fetched again: a fast lane has some 0.2 s of work in them."""

_IDLE_SECONDS: Final = 1.0


class Inbox:
    """Between the event loop, which puts, and the thread of a lane, which takes.

    Args:
        hold: Called with True when there is enough, with False when there is room again; by
            turns, beginning with True, and always by whoever calls `put` or runs ``soon``.
        soon: Has the event loop call something, from any thread.
    """

    def __init__(
        self, hold: Callable[[bool], object], soon: Callable[[Callable[[], None]], object]
    ) -> None:
        self._hold = hold
        self._soon = soon
        self._changed = threading.Condition()
        self._pending: list[SourceRecord] = []
        self._held = 0  # pending, and those in hand of the lane
        self._is_on_hold = False
        self._stopping = False

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping

    def put(self, records: Sequence[SourceRecord]) -> None:
        """Hands over the next records. Does not wait; to be called by the event loop."""
        with self._changed:
            self._pending.extend(records)
            self._held += len(records)
            self._changed.notify()
            enough = self._held >= ENOUGH
        if enough and not self._is_on_hold:
            self._is_on_hold = True
            self._hold(True)  # noqa: FBT003 - the port's only argument

    def take(self, not_before: float) -> list[SourceRecord] | None:
        """Waits for records, and takes all; None when the lane is to stop.

        Args:
            not_before: Until then (`time.monotonic`) records are collected.
        """
        with self._changed:
            while not self._stopping:
                wait = not_before - time.monotonic() if self._pending else _IDLE_SECONDS
                if wait <= 0:
                    taken, self._pending = self._pending, []
                    return taken
                self._changed.wait(wait)
        return None

    def done(self, count: int) -> None:
        """So many of those taken are committed."""
        with self._changed:
            had_room = self._held <= ROOM
            self._held -= count
            has_room = self._held <= ROOM
        if has_room and not had_room:
            self._soon(self._let_in)

    def stop(self) -> None:
        """Drops what is pending; `take` returns None from now on."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def _let_in(self) -> None:
        with self._changed:
            has_room = self._held <= ROOM
        if has_room and self._is_on_hold and not self._stopping:
            self._is_on_hold = False
            self._hold(False)  # noqa: FBT003 - the port's only argument
