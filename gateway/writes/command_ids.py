"""The ids of commands that arrive without one, and the installation of each id.

The sequencer accepts the ids of one (conversation, sender, device, installation) in increasing
order only. The ids that one gateway makes increase, but an id of one gateway may be below an
earlier id of another. So each gateway process counts as an installation of every device that
sends through it.

A client that repeats a request knows the id, and may reach another gateway. Therefore the id alone
determines the installation: the last 12 digits of a generated id are a mark and the number of the
process, and these digits are the installation. A command with such an id always has the same
installation, whichever gateway receives it, so the sequencer recognises the repetition.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Final

from msgspec import UNSET, UnsetType

from schemas.ids import uuid7

INSTALLATION_DIGITS: Final = 12
"""Digits at the end of a generated id that are the installation: 48 of the 74 free bits."""

GATEWAY_MARK: Final = "6a7e"
"""The first of these digits in every generated id. A client's id has them by chance once in 65,536
ids, which is harmless: the installation still depends on nothing but the id."""

_NS_IN_MS: Final = 1_000_000
_PROCESS_BITS: Final = 32
_TAIL_BITS: Final = 48
_MAX_COUNT: Final = (1 << 26) - 1


def new_process_number() -> int:
    """A random number for a gateway process."""
    return secrets.randbits(_PROCESS_BITS)


def installation_of(client_msg_id: str) -> str | UnsetType:
    """The installation of a generated id. An id that a client has made has none."""
    tail = client_msg_id[-INSTALLATION_DIGITS:]
    return tail if tail.startswith(GATEWAY_MARK) else UNSET


class CommandIds:
    """Makes increasing ids, even if the clock goes back. For one event loop.

    Args:
        process: A number that no other gateway process has, below 2**32.
        clock: Nanoseconds since 1970.
    """

    def __init__(self, process: int, clock: Callable[[], int] = time.time_ns) -> None:
        self._tail = int(GATEWAY_MARK, 16) << _PROCESS_BITS | process
        self._clock = clock
        self._ms = self._count = 0

    def next(self) -> str:
        """The next id."""
        now = self._clock() // _NS_IN_MS
        if now > self._ms:
            self._ms, self._count = now, 0
        elif self._count < _MAX_COUNT:
            self._count += 1
        else:
            self._ms, self._count = self._ms + 1, 0
        return uuid7(self._ms, self._count << _TAIL_BITS | self._tail)
