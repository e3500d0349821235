"""Log lines about a condition that lasts, such as a server that does not answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from logging import Logger
from typing import Final

REPEAT_SECONDS: Final = 60.0
"""Minimum time between two lines about one condition."""


class MinuteLog:
    """Logs a warning at once when a condition begins, then at most once a minute.

    Thread-safe enough for its purpose: two threads at the same instant may log two lines.

    Args:
        logger: Gets the lines.
        clock: Seconds that never go back.
    """

    def __init__(self, logger: Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._told_at: float | None = None

    def tell(self, message: str, *arguments: object) -> None:
        """Logs the message, unless a line was logged within the last minute."""
        now = self._clock()
        if self._told_at is None or now - self._told_at >= REPEAT_SECONDS:
            self._told_at = now
            self._logger.warning(message, *arguments)

    def over(self) -> bool:
        """Ends the condition: the next `tell` logs at once. Says whether there was a condition."""
        lasted, self._told_at = self._told_at is not None, None
        return lasted
