"""When a sink may begin its next batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

BATCH_INTERVAL_SECONDS: Final = 0.25
"""Minimum time from the begin of one small batch to the begin of the next.

A batch costs the store requests and the process wake-ups that do not depend on its records. Live
connections do not wait for the store, so the interval delays only what reads the store.
"""

SMALL_BATCH: Final = 1_000
"""A batch with fewer records is small."""


class BatchPace:
    """Lets the first batch after a pause begin at once, and large batches at any time.

    Args:
        monotonic: A clock in seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._not_before = monotonic()

    def may_begin(self, records: int, room: int) -> bool:
        """Whether a batch of this number of records may begin now. If so, it counts as begun.

        Args:
            records: 0 for a batch that needs no request to the store; it begins at once.
            room: The records that can still join the batch; with 0, a wait has no use.
        """
        if not records:
            return True
        now = self._monotonic()
        if room and records < SMALL_BATCH and now < self._not_before:
            return False
        self._not_before = now + BATCH_INTERVAL_SECONDS
        return True
