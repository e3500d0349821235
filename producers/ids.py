"""The ids that a client gives its commands: UUIDv7s that only ever grow."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from typing import Final

from schemas.ids import MAX_RANDOM, uuid7, uuid7_parts

_FRESH_BITS: Final = 73
"""Of the 74 random ones: the highest stays free, so that a millisecond has room to count up."""
_STEP_BITS: Final = 32
"""Two clients that share a millisecond stay apart because nobody counts in ones."""


def wall_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class IdGenerator:
    """Makes ids, each greater than all before it, whatever the clock does. Safe among threads.

    The order survives a restart when the greatest id ever used is handed to the next generator.

    Args:
        last: The greatest id used so far, if any.
        clock: Milliseconds since 1970.
        random_bits: A random number of so many bits.

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
        """The next id (RFC 9562, section 6.2, method 2).

        Raises:
            ValueError: The time needs more than the 48 bits that last until the year 10889.
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
        """Within one millisecond, and while the clock is behind the last id."""
        following = self._random + 1 + self._random_bits(_STEP_BITS)
        if following > MAX_RANDOM:
            self._begin(self._ms + 1)
        else:
            self._random = following
