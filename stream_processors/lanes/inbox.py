"""The received and uncommitted records of a lane: bounded, without blocking the event loop.

The event loop passes records to every lane, so a full lane must not block the loop. A full lane
puts its partition on hold instead: the partition is not fetched until there is room.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from schemas.number_types import Offset
from stream_processors.sequencing.source_record import SourceRecord

ENOUGH: Final = 40_000
"""Number of records in a lane at which its partition is put on hold.

Records in flight at that time are accepted as well. At some 700 bytes a record, 30 MB.
"""

ENOUGH_BYTES: Final = 16 * 1024 * 1024
"""Bytes of keys and values in a lane at which its partition is put on hold. Records in flight are
accepted as well: `stream_processors.sequencing.fetched_batches` bounds them."""

RESUME_FETCHING_AT: Final = ENOUGH // 2
"""Number of records at which the hold ends: some 0.2 s of work for a fast lane."""

IDLE_CHECK_SECONDS: Final = 10.0
"""Time without records after which a lane checks whether the broker has records for it."""


class Feed(Protocol):
    """Controls the fetching of a source partition for one lane. For the event loop."""

    def hold(self, on_hold: bool) -> None:  # noqa: FBT001 - the only argument
        """Stops or resumes the fetching of the partition."""

    def start_at(self, offset: Offset) -> None:
        """Fetches the partition from this offset on."""


class Inbox:
    """A queue from the event loop, which calls `put`, to a writer's thread, which calls `take`.

    Args:
        feed: Put on hold when the queue is full, and resumed when there is room. The calls
            alternate, and are always made by the caller of `put` or by ``soon``.
        soon: Makes the event loop call a function, from any thread.
        arrived: Called by `put` after it has added records.
    """

    def __init__(
        self,
        feed: Feed,
        soon: Callable[[Callable[[], None]], object],
        arrived: Callable[[], object],
    ) -> None:
        self._feed = feed
        self._soon = soon
        self._next_offset: Offset | None = None
        self._arrived = arrived
        self._guard = threading.Lock()
        self._pending: list[SourceRecord] = []
        self._held = 0  # pending records, and records that the lane processes
        self._held_bytes = 0
        self._in_hand = self._bytes_in_hand = 0
        self._is_on_hold = False
        self._stopping = False

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping

    @property
    def is_empty(self) -> bool:
        """Whether all received records are done."""
        return not self._held

    def begin(self, offset: Offset) -> None:
        """Requests the records from this offset on. Records added before this call are dropped."""
        with self._guard:
            self._next_offset = offset
        self._soon(self._start)

    def put(self, records: Sequence[SourceRecord]) -> None:
        """Adds the next records. Does not block; called by the event loop.

        Records that were added before are skipped: a partition may be fetched again from an
        earlier offset.
        """
        with self._guard:
            fresh = self._fresh(records)
            if not fresh:
                return
            self._next_offset = Offset(fresh[-1].offset + 1)
            self._pending.extend(fresh)
            self._held += len(fresh)
            self._held_bytes += _bytes_of(fresh)
            enough = self._held >= ENOUGH or self._held_bytes >= ENOUGH_BYTES
        if enough and not self._is_on_hold:
            self._is_on_hold = True
            self._feed.hold(True)  # noqa: FBT003 - the only argument
        self._arrived()

    def take(self) -> list[SourceRecord]:
        """Takes all pending records. The records that were taken before must be done."""
        with self._guard:
            if self._stopping:
                return []
            taken, self._pending = self._pending, []
            self._in_hand, self._bytes_in_hand = len(taken), self._held_bytes
            return taken

    def done(self, count: int) -> None:
        """Notes that a number of the taken records are committed."""
        with self._guard:
            had_room = self._has_room
            self._held -= count
            self._in_hand -= count
            if not self._in_hand:
                self._held_bytes -= self._bytes_in_hand
                self._bytes_in_hand = 0
            has_room = self._has_room
        if has_room and not had_room:
            self._soon(self._let_in)

    def stop(self) -> None:
        """Drops the pending records; `take` returns none from now on."""
        with self._guard:
            self._stopping = True

    @property
    def _has_room(self) -> bool:
        return self._held <= RESUME_FETCHING_AT and self._held_bytes < ENOUGH_BYTES

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
        with self._guard:
            has_room = self._has_room
        if has_room and self._is_on_hold and not self._stopping:
            self._is_on_hold = False
            self._feed.hold(False)  # noqa: FBT003 - the only argument


def _bytes_of(records: Sequence[SourceRecord]) -> int:
    return sum([len(record.value or b"") + len(record.key or b"") for record in records])
