"""Waiting for a condition, within a bound."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

_PAUSE_SECONDS = 0.05


async def until(condition: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Waits until a condition holds.

    Raises:
        AssertionError: The condition does not hold within ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        await asyncio.sleep(_PAUSE_SECONDS)
