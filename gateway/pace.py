"""How long a waiting reader leaves the store alone."""

from __future__ import annotations

from typing import Final

_FIRST_RETRY: Final = 0.02
_LONGEST_RETRY: Final = 1.0
"""A sink takes some 20 to 100 ms; one that is down is not asked for more than once a second."""

_FIRST_LOOK: Final = 1.0
_LONGEST_LOOK: Final = 30.0
"""With nothing told. A wake-up that was lost, by a restart of the gateway as an example, costs at
most as much time again as has passed since the reader began to wait."""

WITHOUT_LOG_SECONDS: Final = 1.0
"""Between two looks while the log is not followed."""


class Pace:
    """Seconds until the next read, after a read that brought nothing."""

    def __init__(self) -> None:
        self._retry = _FIRST_RETRY
        self._look = _FIRST_LOOK

    def until_retry(self) -> float:
        """The log has told of something that the store did not have yet."""
        seconds = self._retry
        self._retry = min(2 * self._retry, _LONGEST_RETRY)
        return seconds

    def until_look(self, *, is_live: bool) -> float:
        """Nothing was told; a wake-up ends this time."""
        if not is_live:
            return WITHOUT_LOG_SECONDS
        seconds = self._look
        self._look = min(2 * self._look, _LONGEST_LOOK)
        return seconds
