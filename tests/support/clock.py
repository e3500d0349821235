"""A clock for tests of behaviour over time."""

from __future__ import annotations


class Clock:
    """A clock in seconds that only the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now
