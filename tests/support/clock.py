"""Time for tests of what happens after some of it."""

from __future__ import annotations


class Clock:
    """Seconds that pass when it is told so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now
