"""What a lane has been handed and has not committed: bounded, without anybody's waiting for it.

Who brings records is the event loop, and it brings them for every lane. So a lane that has enough
does not make it wait: it says so, and the partition is not fetched until there is room.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from stream_processors.sequencer import SourceRecord

ENOUGH: Final = 40_000
"""Records that a lane holds before its partition is no longer fetched.

What is on its way by then is taken as well. At some 700 bytes a record 30 MB.
"""

ENOUGH_BYTES: Final = 16 * 1024 * 1024
"""Keys and values that a lane holds before its partition is no longer fetched. What is on its way
is taken as well: `stream_processors.unpacking` bounds that."""

ROOM: Final = ENOUGH // 2
"""With so many left the partition is fetched again: a fast lane has some 0.2 s of work in them."""

IDLE_SECONDS: Final = 10.0
"""After this a lane that gets nothing looks whether there is something to get."""


class Feed(Protocol):
    """A source partition, as it is fetched for one lane. For the event loop."""

    def hold(self, on_hold: bool) -> None:  # noqa: FBT001 - the only argument
        """Leaves the partition out of fetching, or takes it in again."""

    def start_at(self, offset: int) -> None:
        """Fetches the partition from this offset on."""


class Inbox:
    """Between the event loop, which puts, and the thread of a lane, which takes.

    Args:
        feed: Put on hold when there is enough, and let go on when there is room again; by turns,
            and always by whoever calls `put` or runs ``soon``.
        soon: Has the event loop call something, from any thread.
    """

    def __init__(self, feed: Feed, soon: Callable[[Callable[[], None]], object]) -> None:
        self._feed = feed
        self._soon = soon
        self._next_offset: int | None = None
        self._changed = threading.Condition()
        self._pending: list[SourceRecord] = []
        self._held = 0  # pending, and those in hand of the lane
        self._held_bytes = 0
        self._in_hand = self._bytes_in_hand = 0
        self._is_on_hold = False
        self._stopping = False
        self._woken = False

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping

    def begin(self, offset: int) -> None:
        """Asks for the records from this offset on. What was put before is not taken."""
        with self._changed:
            self._next_offset = offset
        self._soon(self._start)

    def put(self, records: Sequence[SourceRecord]) -> None:
        """Hands over the next records. Does not wait; to be called by the event loop.

        Records that were put before are passed over: a partition may be fetched again from an
        earlier offset.
        """
        with self._changed:
            fresh = self._fresh(records)
            if not fresh:
                return
            self._next_offset = fresh[-1].offset + 1
            self._pending.extend(fresh)
            self._held += len(fresh)
            self._held_bytes += _bytes_of(fresh)
            self._changed.notify()
            enough = self._held >= ENOUGH or self._held_bytes >= ENOUGH_BYTES
        if enough and not self._is_on_hold:
            self._is_on_hold = True
            self._feed.hold(True)  # noqa: FBT003 - the only argument

    def take(self, not_before: float) -> list[SourceRecord] | None:
        """Waits for records, and takes all.

        Args:
            not_before: Until then (`time.monotonic`) records are collected.

        Returns:
            None when the lane is to stop; nothing after `wake`, and when nothing came for
            `IDLE_SECONDS`.
        """
        idle = time.monotonic() + IDLE_SECONDS
        with self._changed:
            while not self._stopping:
                wait = (not_before if self._pending else idle) - time.monotonic()
                if wait <= 0 or self._woken:
                    self._woken = False
                    taken, self._pending = self._pending, []
                    self._in_hand, self._bytes_in_hand = len(taken), self._held_bytes
                    return taken
                self._changed.wait(wait)
        return None

    def done(self, count: int) -> None:
        """So many of those taken are committed."""
        with self._changed:
            had_room = self._has_room
            self._held -= count
            self._in_hand -= count
            if not self._in_hand:
                self._held_bytes -= self._bytes_in_hand
                self._bytes_in_hand = 0
            has_room = self._has_room
        if has_room and not had_room:
            self._soon(self._let_in)

    def wake(self) -> None:
        """Has `take` return at once, the one that waits or else the next."""
        with self._changed:
            self._woken = True
            self._changed.notify()

    def stop(self) -> None:
        """Drops what is pending; `take` returns None from now on."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    @property
    def _has_room(self) -> bool:
        return self._held <= ROOM and self._held_bytes < ENOUGH_BYTES

    def _fresh(self, records: Sequence[SourceRecord]) -> Sequence[SourceRecord]:
        wanted = self._next_offset
        if wanted is None:
            return ()
        if records[0].offset >= wanted:
            return records
        return [record for record in records if record.offset >= wanted]

    def _start(self) -> None:
        if self._next_offset is not None and not self._stopping:
            self._feed.start_at(self._next_offset)

    def _let_in(self) -> None:
        with self._changed:
            has_room = self._has_room
        if has_room and self._is_on_hold and not self._stopping:
            self._is_on_hold = False
            self._feed.hold(False)  # noqa: FBT003 - the only argument


def _bytes_of(records: Sequence[SourceRecord]) -> int:
    return sum([len(record.value or b"") + len(record.key or b"") for record in records])
