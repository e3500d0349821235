"""The ids of commands: UUIDv7s (RFC 9562, section 5.7) in lower case, each above all before.

In this form, the order of the strings is the order of the ids.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from typing import Final

_UUID7: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII
)
_RANDOM_BITS: Final = 74
_LOW_BITS: Final = 62
_FRESH_BITS: Final = _RANDOM_BITS - 1
"""The highest random bit of a fresh id is 0, which leaves room to count up."""


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class CommandIds:
    """Makes the ids of commands, each greater than all before, even if the clock goes back.

    Args:
        clock: Milliseconds since 1970.
    """

    def __init__(self, clock: Callable[[], int] = _wall_ms) -> None:
        self._clock = clock
        self._last = (0, 0)

    def next(self) -> str:
        """Return the next id (RFC 9562, section 6.2, method 2)."""
        ms, random = self._clock(), secrets.randbits(_FRESH_BITS)
        last_ms, last_random = self._last
        if ms <= last_ms:
            ms, random = last_ms, last_random + 1
            if random >> _RANDOM_BITS:
                ms, random = ms + 1, secrets.randbits(_FRESH_BITS)
        self._last = ms, random
        return _text(ms, random)


def is_command_id(text: str) -> bool:
    """Return whether this is a UUIDv7 in lower case."""
    return _UUID7.fullmatch(text) is not None


def _text(ms: int, random: int) -> str:
    high, low = random >> _LOW_BITS, random & ((1 << _LOW_BITS) - 1)
    digits = f"{ms << 80 | 7 << 76 | high << 64 | 2 << 62 | low:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
