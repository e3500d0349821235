"""Ends a process that does not do its work, so that the supervisor starts another.

All bounds on standing still are here:

| a stage | longer than | ends with |
|---|---|---|
| whose loop does not run | `SILENT_SECONDS` | `NoProgress` |
| that has no partition, while the group leaves some without an owner | `UNASSIGNED_SECONDS` | \
`NoPartitions` |
| that reads nothing, while committed records wait in its partitions | `STALLED_SECONDS` | \
`NoProgress` |
| whose writer neither ends nor fails | `WRITING_SECONDS`, or the stage's own limit | \
`NoProgress` |

A stage that waits for a server is not one that stands still: it says so once a minute and goes on
when the server is back. So the questions to the broker (has every partition an owner, is there a
record left) count only when the broker answers them.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Final, Protocol

from schemas.errors import FatalFailure, NoPartitions, NoProgress

SILENT_SECONDS: Final = 120.0
"""More than any wait of a loop: a rebalance waits for a batch and two commits, 20 s in all."""

UNASSIGNED_SECONDS: Final = 60.0
"""More than a session timeout and a rebalance, which take some 15 s."""

STALLED_SECONDS: Final = 60.0
"""More than the longest fetch, and the longest answer of the broker."""

WRITING_SECONDS: Final = 300.0
"""Many times the timeout of one request to a store."""

LOOK_SECONDS: Final = 1.0

_logger = logging.getLogger(__name__)

Ask = Callable[[], bool | None]
"""A question to the broker; None when it does not answer."""


class Vitals:
    """What a stage says about itself, from its own threads.

    Args:
        clock: Seconds that never go back.
        write_limit: Seconds that one write may take.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, write_limit: float = WRITING_SECONDS
    ) -> None:
        self.write_limit = write_limit
        self._clock = clock
        now = clock()
        self.looped_at = now
        self.moved_at = now
        self.owned_at = now
        self.writing_since: float | None = None
        self.owned = 0

    def beat(self, owned: int, *, has_moved: bool) -> None:
        """The loop has run once more.

        Args:
            owned: Partitions that the stage has.
            has_moved: Whether records came, or none is expected: a batch is being written.
        """
        now = self._clock()
        self.looped_at, self.owned = now, owned
        if owned:
            self.owned_at = now
        if has_moved or not owned:
            self.moved_at = now

    def writing(self) -> None:
        """An attempt to write begins."""
        self.writing_since = self._clock()

    def written(self) -> None:
        """Nothing is being written."""
        self.writing_since = None


class Group(Protocol):
    """What the broker says about a stage's group."""

    def leaves_partitions(self) -> bool | None:
        """Whether a partition has no owner; None when the broker does not answer."""
        ...

    def has_records_left(self) -> bool | None:
        """Whether committed records wait in the stage's partitions; None as above."""
        ...


class NoGroup:
    """Of a stage that reads without a group: whether its loop runs is all there is to look at."""

    def leaves_partitions(self) -> bool | None:
        """See `Group`."""
        return None

    def has_records_left(self) -> bool | None:
        """See `Group`."""
        return None


class Watchdog:
    """Looks at the vitals of a stage in a thread of its own.

    Args:
        stage: Its name, for the log.
        vitals: What it says about itself.
        group: What the broker says about it.
        end: Ends the process; it does not return.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        stage: str,
        vitals: Vitals,
        group: Group,
        end: Callable[[FatalFailure], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stage = stage
        self._vitals = vitals
        self._group = group
        self._end = end or self._exit
        self._clock = clock
        self._stopping = Event()

    def start(self) -> None:
        """Begins to look."""
        Thread(target=self._run, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Ends; to be called when the stage ends in order."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            failure = self.look()
            if failure is not None and not self._stopping.is_set():
                self._end(failure)
                return

    def look(self) -> FatalFailure | None:
        """What is wrong with the stage now."""
        now, vitals = self._clock(), self._vitals
        if now - vitals.looped_at > SILENT_SECONDS:
            return NoProgress(f"the loop has not run for {SILENT_SECONDS:.0f} s")
        since = vitals.writing_since
        if since is not None and now - since > vitals.write_limit:
            return NoProgress(f"a write has not ended for {vitals.write_limit:.0f} s")
        if now - vitals.owned_at > UNASSIGNED_SECONDS:
            if self._group.leaves_partitions():
                return NoPartitions(f"no partition is assigned for {UNASSIGNED_SECONDS:.0f} s")
            vitals.owned_at = now  # a standby, or a broker that is away: ask again later
        if now - vitals.moved_at > STALLED_SECONDS:
            if self._group.has_records_left():
                return NoProgress(f"records wait, none has come for {STALLED_SECONDS:.0f} s")
            vitals.moved_at = now
        return None

    def _exit(self, failure: FatalFailure) -> None:
        _logger.critical("%s ends: %s", self._stage, failure)
        os._exit(failure.exit_code)
