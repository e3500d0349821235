"""Detects that records on the broker do not reach their lane.

Records pass through several components, which do not report dropped records. So a lane without
records checks the broker itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from schemas.errors import FatalFailure
from schemas.number_types import Offset
from stream_processors.lanes.inbox import IDLE_CHECK_SECONDS


class Starvation:
    """Checks one partition while its lane is idle.

    Args:
        end: Requests the offset after the last record from the broker.
        holds_records: Whether any of these offsets is a record rather than a transaction marker.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        end: Callable[[], Offset],
        holds_records: Callable[[range], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read_end = end
        self._holds_records = holds_records
        self._clock = clock
        self._waited_for: Offset | None = None
        self._missed_at = clock()

    def check(self, next_offset: Offset) -> None:
        """Checks the partition. Called whenever the lane is idle, for any time.

        Raises:
            FatalFailure: The next record has been on the broker for `IDLE_CHECK_SECONDS`. Only a
                new process solves this.
        """
        missing = range(next_offset, self._read_end())
        if not missing:
            self._waited_for = None
        elif self._waited_for != next_offset:
            self._waited_for, self._missed_at = next_offset, self._clock()  # may be in flight
        elif self._clock() - self._missed_at >= IDLE_CHECK_SECONDS and self._holds_records(
            missing
        ):
            raise FatalFailure(f"records {missing.start} to {missing.stop - 1} do not arrive")
