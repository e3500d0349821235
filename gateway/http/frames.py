"""Checks that a WebSocket client sends only short texts and control frames, at a low rate.

See RFC 6455, section 5. The check runs before the frames are parsed, so that a flood costs no more
than its first forbidden frame. A text is one frame with content, and a control frame has at most
125 bytes. The rate of control frames is bounded here, the rate of texts by `LiveRequests`. The
check stores at most a header of four bytes. Pure except for the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

PROTOCOL: Final = "im-timeline.v1"
"""The subprotocol. A client that names subprotocols must name this one."""

MAX_FRAMES: Final = 32
"""Maximum burst of control frames."""

FRAMES_A_SECOND: Final = 1.0
"""Maximum average rate of control frames. Clients usually send one every 20 seconds."""

MAX_TEXT_BYTES: Final = 65_535
"""Maximum size of a text, like that of a body over HTTP."""

_TEXT: Final = 0x81
"""The first byte of a text in one frame."""

_CONTROL: Final = 0x8
_OPCODE: Final = 0x0F
_MASKED: Final = 0x80
_LENGTH: Final = 0x7F
_MASK_BYTES: Final = 4
MAX_CONTROL_BYTES: Final = 125
"""Maximum size of a control frame."""

_TWO_BYTES: Final = 126
"""The length of a frame is in the two bytes behind this one."""
_EIGHT_BYTES: Final = 127
_LONGEST_HEAD: Final = 4


class Frames:
    """Checks the bytes of one connection.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left = float(MAX_FRAMES)
        self._counted_at = clock()
        self._head: list[int] = []
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
        head = self._head
        head.append(byte)
        if len(head) == 1:
            return byte == _TEXT or (byte & _OPCODE >= _CONTROL and self._is_in_time())
        length = head[1] & _LENGTH
        if length == _TWO_BYTES and head[0] == _TEXT and len(head) < _LONGEST_HEAD:
            return True
        payload = head[2] << 8 | head[3] if len(head) == _LONGEST_HEAD else length
        self._skip = payload + (_MASK_BYTES if head[1] & _MASKED else 0)
        self._head = []
        if head[0] == _TEXT:
            return payload > 0 and (length != _EIGHT_BYTES)
        return payload <= MAX_CONTROL_BYTES

    def _is_in_time(self) -> bool:
        now = self._clock()
        refilled = self._left + (now - self._counted_at) * FRAMES_A_SECOND
        self._left = min(MAX_FRAMES, refilled) - 1
        self._counted_at = now
        return self._left >= 0
