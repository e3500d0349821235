"""Ends a process that makes no progress, so that the supervisor starts another.

All bounds on a lack of progress are here:

| condition of a stage | bound | error |
|---|---|---|
| its loop does not run | `SILENT_SECONDS` | `NoProgress` |
| it has no partition, while the group has partitions without an owner | `UNASSIGNED_SECONDS` | \
`NoPartitions` |
| it reads nothing, while committed records wait in its partitions | `STALLED_SECONDS` | \
`NoProgress` |
| a write neither ends nor fails | `WRITING_SECONDS`, or the stage's own limit | \
`NoProgress` |

A stage that waits for an unreachable server is healthy: it logs the wait once a minute and
continues when the server answers. So the requests to the broker (has every partition an owner, are
records left) count only if the broker answers.
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
"""Longer than any wait of a loop: a rebalance waits for a batch and two commits, 20 s in all."""

UNASSIGNED_SECONDS: Final = 60.0
"""Longer than a session timeout and a rebalance, which take some 15 s."""

STALLED_SECONDS: Final = 60.0
"""Longer than the longest fetch and the longest response of the broker."""

WRITING_SECONDS: Final = 300.0
"""Many times the timeout of one request to a store."""

WATCHDOG_CHECK_SECONDS: Final = 1.0

_logger = logging.getLogger(__name__)

Ask = Callable[[], bool | None]
"""A request to the broker; None if the broker does not answer."""


class Vitals:
    """The progress that a stage reports from its own threads.

    Args:
        clock: Monotonic time in seconds.
        write_limit: Maximum duration of one write, in seconds.
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
        """Reports one more run of the loop.

        Args:
            owned: Number of partitions that the stage has.
            has_moved: Whether records arrived, or no record is expected during a write.
        """
        now = self._clock()
        self.looped_at, self.owned = now, owned
        if owned:
            self.owned_at = now
        if has_moved or not owned:
            self.moved_at = now

    def writing(self) -> None:
        """Reports that an attempt to write begins."""
        self.writing_since = self._clock()

    def written(self) -> None:
        """Reports that no write is running."""
        self.writing_since = None

    def hang(self) -> NoProgress | None:
        """The failure if the loop does not run, or a write does not end; otherwise None."""
        now, since = self._clock(), self.writing_since
        if now - self.looped_at > SILENT_SECONDS:
            return NoProgress(f"the loop has not run for {SILENT_SECONDS:.0f} s")
        if since is not None and now - since > self.write_limit:
            return NoProgress(f"a write has not ended for {self.write_limit:.0f} s")
        return None

    def not_live(self) -> str | None:
        """The reason why the process must be replaced; None if it makes progress or waits."""
        failure = self.hang()
        return None if failure is None else str(failure)


class GroupProbe(Protocol):
    """The broker's state of a stage's consumer group."""

    def leaves_partitions(self) -> bool | None:
        """Whether a partition has no owner; None when the broker does not answer."""
        ...

    def has_records_left(self) -> bool | None:
        """Whether committed records wait in the stage's partitions; None as above."""
        ...


class NoGroup:
    """For a stage that reads without a group: the watchdog checks only its loop and writes."""

    def leaves_partitions(self) -> bool | None:
        """See `GroupProbe`."""
        return None

    def has_records_left(self) -> bool | None:
        """See `GroupProbe`."""
        return None


class Watchdog:
    """Checks the vitals of a stage in its own thread.

    Args:
        stage: The name of the stage, for the log.
        vitals: The progress that the stage reports.
        group: The broker's state of the consumer group.
        end: Ends the process; does not return.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        stage: str,
        vitals: Vitals,
        group: GroupProbe,
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
        """Starts the thread."""
        Thread(target=self._run, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stops the checks. A stage calls this before its regular end."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(WATCHDOG_CHECK_SECONDS):
            failure = self.check()
            if failure is not None and not self._stopping.is_set():
                self._end(failure)
                return

    def check(self) -> FatalFailure | None:
        """Checks the stage now. Returns the failure, or None for a healthy stage."""
        now, vitals = self._clock(), self._vitals
        hang = vitals.hang()
        if hang is not None:
            return hang
        if now - vitals.owned_at > UNASSIGNED_SECONDS:
            if self._group.leaves_partitions():
                return NoPartitions(f"no partition is assigned for {UNASSIGNED_SECONDS:.0f} s")
            vitals.owned_at = now  # a standby, or an unreachable broker: check again later
        if now - vitals.moved_at > STALLED_SECONDS:
            if self._group.has_records_left():
                return NoProgress(f"records wait, none has arrived for {STALLED_SECONDS:.0f} s")
            vitals.moved_at = now
        return None

    def _exit(self, failure: FatalFailure) -> None:
        _logger.critical("%s ends: %s", self._stage, failure)
        os._exit(failure.exit_code)
