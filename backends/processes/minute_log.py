"""Log lines about conditions that last and about many records: a limited number of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from logging import Filter, Logger, LogRecord
from typing import Final

REPEAT_SECONDS: Final = 60.0
"""Minimum time between two lines about one condition."""

_MOST_LINES: Final = 1_000
"""Maximum number of different lines that are remembered."""


class MinuteLog:
    """Logs a warning at once when a condition begins, then at most once a minute.

    Thread-safe enough for its purpose: two threads at the same instant may log two lines.

    Args:
        logger: Gets the lines.
        clock: Monotonic time in seconds.
    """

    def __init__(self, logger: Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._logged_at: float | None = None

    def warning(self, message: str, *arguments: object) -> None:
        """Logs the message, unless a line was logged within the last minute."""
        now = self._clock()
        if self._logged_at is None or now - self._logged_at >= REPEAT_SECONDS:
            self._logged_at = now
            self._logger.warning(message, *arguments)

    def end_condition(self) -> bool:
        """Ends the condition: the next `warning` logs at once. Returns whether there was one."""
        lasted, self._logged_at = self._logged_at is not None, None
        return lasted


class LimitedLog:
    """Logs a limited number of lines a second, and how many lines it has left out.

    For lines about single records, of which a hostile producer may send any number. Thread-safe
    enough for its purpose: two threads at the same instant may log one line more.

    Args:
        logger: Gets the lines.
        per_second: The limit.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self, logger: Logger, per_second: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger
        self._per_second = per_second
        self._clock = clock
        self._second = self._written = self._left_out = 0

    def log(self, level: int, message: str, *arguments: object, **context: object) -> None:
        """Logs the message with its context, unless the limit is reached in this second."""
        second = int(self._clock())
        if second != self._second:
            left_out, self._left_out = self._left_out, 0
            self._second, self._written = second, 0
            if left_out:
                self._logger.log(level, "%d more lines like the following", left_out)
        if self._written < self._per_second:
            self._written += 1
            self._logger.log(level, message, *arguments, extra=context)
        else:
            self._left_out += 1


class LibraryFilter(Filter):
    """A filter for a log handler: each line of the given libraries passes once a minute.

    Two lines are the same if their format strings are the same. A client that cannot reach its
    server writes several such lines a second.

    Args:
        libraries: Names of loggers; loggers below them count as well.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self, libraries: tuple[str, ...], clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._libraries = libraries
        self._clock = clock
        self._logged_at: dict[str, float] = {}

    def filter(self, record: LogRecord) -> bool:
        """Whether the line is written."""
        if record.name.partition(".")[0] not in self._libraries:
            return True
        now, text = self._clock(), str(record.msg)
        logged_at = self._logged_at.get(text)
        if logged_at is not None and now - logged_at < REPEAT_SECONDS:
            return False
        if len(self._logged_at) >= _MOST_LINES:
            self._logged_at.clear()
        self._logged_at[text] = now
        return True
