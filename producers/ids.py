"""The ids that a client gives its commands: UUIDv7s that only grow."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from typing import Final

from schemas.ids import MAX_RANDOM, uuid7, uuid7_parts

_FRESH_BITS: Final = 73
"""Random bits of a fresh id, of 74: the highest one is 0, which leaves room to count up."""
_STEP_BITS: Final = 32
"""Random increments keep the ids of two clients that share a millisecond different."""


def wall_ms() -> int:
    """Return milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class IdGenerator:
    """Makes ids, each greater than all before, even if the clock goes back. Thread-safe.

    The order survives a restart when the next generator gets the greatest id used so far.

    Args:
        last: The greatest id used so far, if any.
        clock: Milliseconds since 1970.
        random_bits: Returns a random number with the given number of bits.

    Raises:
        ValueError: ``last`` is not a UUIDv7.
    """

    def __init__(
        self,
        last: str | None = None,
        clock: Callable[[], int] = wall_ms,
        random_bits: Callable[[int], int] = secrets.randbits,
    ) -> None:
        self._ms, self._random = (0, 0) if last is None else uuid7_parts(last)
        self._clock = clock
        self._random_bits = random_bits
        self._lock = threading.Lock()

    def next(self) -> str:
        """Return the next id (RFC 9562, section 6.2, method 2).

        Raises:
            ValueError: The time needs more than 48 bits, which last until the year 10889.
        """
        with self._lock:
            now = self._clock()
            if now > self._ms:
                self._begin(now)
            else:
                self._count_up()
            return uuid7(self._ms, self._random)

    def _begin(self, ms: int) -> None:
        self._ms, self._random = ms, self._random_bits(_FRESH_BITS)

    def _count_up(self) -> None:
        """Make the next id within one millisecond, and while the clock lags the last id."""
        following = self._random + 1 + self._random_bits(_STEP_BITS)
        if following > MAX_RANDOM:
            self._begin(self._ms + 1)
        else:
            self._random = following
