"""Notices that records lie on the broker and do not come to their lane.

They come by several hands, and none of them tells when it has dropped something. A lane that gets
nothing looks at the broker itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from schemas.errors import FatalFailure
from stream_processors.inbox import IDLE_SECONDS


class Starvation:
    """Looks after one partition whose lane has nothing to do.

    Args:
        end: Asks the broker for the offset after the last.
        holds_records: Whether any of these offsets is a record, and not a transaction's mark.
        clock: Seconds, only growing.
    """

    def __init__(
        self,
        end: Callable[[], int],
        holds_records: Callable[[range], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._end = end
        self._holds_records = holds_records
        self._clock = clock
        self._waited_for: int | None = None
        self._missed_at = clock()

    def look(self, next_offset: int) -> None:
        """To be called whenever the lane has nothing to do, however short it was so.

        Raises:
            FatalFailure: The next record has been there for `IDLE_SECONDS`. Only a new process
                helps.
        """
        missing = range(next_offset, self._end())
        if not missing:
            self._waited_for = None
        elif self._waited_for != next_offset:
            self._waited_for, self._missed_at = next_offset, self._clock()  # may be on its way
        elif self._clock() - self._missed_at >= IDLE_SECONDS and self._holds_records(missing):
            raise FatalFailure(f"records {missing.start} to {missing.stop - 1} do not come to us")
