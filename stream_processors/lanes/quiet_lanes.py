"""Whether a writer has a quiet lane next to busy ones.

A message of a quiet lane waits for the transaction in progress, and so does a reader of a sync
shard: a reader of committed records waits for all open transactions before them. While there is a
quiet lane, the writer makes shorter transactions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

from stream_processors.commit.turns import HALF_LIFE_SECONDS, decayed, is_quiet

_Lane = TypeVar("_Lane", bound=Hashable)


class _Recent(NamedTuple):
    records: float
    at: float


class QuietLanes(Generic[_Lane]):
    """Counts the recent records of each lane.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recent: dict[_Lane, _Recent] = {}

    def add(self, lane: _Lane, records: int) -> None:
        """Adds records that the lane has just committed."""
        now = self._clock()
        earlier = self._recent.get(lane)
        count = records + (0.0 if earlier is None else decayed(earlier.records, now - earlier.at))
        self._recent[lane] = _Recent(count, now)

    def any_quiet(self) -> bool:
        """Whether any active lane had far fewer records than the others."""
        now = self._clock()
        self._recent = {
            lane: recent
            for lane, recent in self._recent.items()
            if now - recent.at < HALF_LIFE_SECONDS
        }
        counts = [decayed(recent.records, now - recent.at) for recent in self._recent.values()]
        return any(is_quiet(count, counts) for count in counts)
