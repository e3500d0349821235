"""Token buckets: a maximum burst of events, and a maximum average rate.

Each key has a bucket. A bucket is one number: the time at which the bucket is full again (the
generic cell rate algorithm, GCRA). Times are whole nanoseconds, so the limits have no rounding
error: with a burst of n, exactly n events pass at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from cachetools import TTLCache

MAX_TOKEN_BUCKETS: Final = 65_536
"""Buckets of one kind. Each takes about 300 bytes. The least recently used one is forgotten first,
and a full bucket is forgotten, which changes nothing."""

_SECOND_NS: Final = 1_000_000_000


class TokenBuckets:
    """The buckets of one kind.

    Args:
        size: The events that a full bucket allows at once.
        seconds: The time in which an empty bucket becomes full.
        clock: The time in nanoseconds, from any origin.
        max_buckets: The maximum number of buckets.
    """

    def __init__(
        self,
        size: int,
        seconds: float,
        clock: Callable[[], int] = time.monotonic_ns,
        max_buckets: int = MAX_TOKEN_BUCKETS,
    ) -> None:
        self.size = size
        self._event_ns = int(seconds * _SECOND_NS) // size
        self._full_ns = self._event_ns * size
        self._clock = clock
        self._full_at: TTLCache[str, int] = TTLCache(max_buckets, self._full_ns, clock)

    def __len__(self) -> int:
        """The number of buckets that are not full."""
        return len(self._full_at)

    def wait_seconds(self, key: str, events: int = 1) -> float:
        """The time until the bucket allows these events; 0 if it allows them now.

        More events than the size of a bucket are never allowed: the time has no meaning then.
        """
        now = self._clock()
        full_at = max(now, self._full_at.get(key, now)) + events * self._event_ns
        return max(0, full_at - now - self._full_ns) / _SECOND_NS

    def take(self, key: str, events: int = 1) -> None:
        """Counts events that `wait_seconds` allows."""
        full_at = max(self._clock(), self._full_at.get(key, 0)) + events * self._event_ns
        self._full_at[key] = full_at

    def give_back(self, key: str, events: int = 1) -> None:
        """Takes back counted events."""
        full_at = self._full_at.get(key)
        if full_at is not None:
            self._full_at[key] = full_at - events * self._event_ns
