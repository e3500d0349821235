"""Checks that a WebSocket client sends only control frames (RFC 6455, section 5.5), at a low rate.

The check runs before the frames are parsed, so that a flood costs no more than its first forbidden
frame. It stores at most a header of two bytes. Pure except for the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

MAX_FRAMES: Final = 32
"""Maximum burst of control frames."""

FRAMES_A_SECOND: Final = 1.0
"""Maximum average rate of control frames. Clients usually send one every 20 seconds."""

_CONTROL: Final = 0x8
_OPCODE: Final = 0x0F
_MASKED: Final = 0x80
_LENGTH: Final = 0x7F
_MASK_BYTES: Final = 4
_MAX_PAYLOAD: Final = 125


class Frames:
    """Checks the bytes of one connection.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left = float(MAX_FRAMES)
        self._counted_at = clock()
        self._first: int | None = None
        self._skip = 0

    def allow(self, data: bytes) -> bool:
        """Whether all frames that begin in ``data`` are allowed. After a False, no frame is."""
        at = 0
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                continue
            if not self._take(data[at]):
                return False
            at += 1
        return True

    def _take(self, byte: int) -> bool:
        """Processes one byte of a header."""
        if self._first is None:
            self._first = byte
            return byte & _OPCODE >= _CONTROL and self._is_in_time()
        self._first = None
        payload = byte & _LENGTH
        self._skip = payload + (_MASK_BYTES if byte & _MASKED else 0)
        return payload <= _MAX_PAYLOAD

    def _is_in_time(self) -> bool:
        now = self._clock()
        refilled = self._left + (now - self._counted_at) * FRAMES_A_SECOND
        self._left = min(MAX_FRAMES, refilled) - 1
        self._counted_at = now
        return self._left >= 0
