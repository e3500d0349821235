"""The intervals at which a waiting reader reads the store."""

from __future__ import annotations

from typing import Final

_FIRST_RETRY: Final = 0.02
_LONGEST_RETRY: Final = 1.0
"""A sink takes some 20 to 100 ms. While a sink is down, a reader reads only once a second."""

_FIRST_READ: Final = 1.0
_LONGEST_READ: Final = 30.0
"""Maximum interval without a wake-up. A lost wake-up, for example by a restart of the gateway, at
most doubles the time since the reader began to wait."""

WITHOUT_LOG_SECONDS: Final = 1.0
"""Interval of reads while the log is not followed."""


class Pace:
    """Seconds until the next read, after a read without a new record."""

    def __init__(self) -> None:
        self._retry = _FIRST_RETRY
        self._read = _FIRST_READ

    def until_retry(self) -> float:
        """The interval after a wake-up, for a record that the store does not have yet."""
        seconds = self._retry
        self._retry = min(2 * self._retry, _LONGEST_RETRY)
        return seconds

    def until_read(self, *, is_live: bool) -> float:
        """The interval without a wake-up; a wake-up ends it early."""
        if not is_live:
            return WITHOUT_LOG_SECONDS
        seconds = self._read
        self._read = min(2 * self._read, _LONGEST_READ)
        return seconds
