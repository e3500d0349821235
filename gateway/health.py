"""Whether the gateway can serve."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, Literal

from gateway.answers import HealthShown
from gateway.search import Index
from gateway.store import Store
from gateway.wake_ups import WakeUps

FRESH_SECONDS: Final = 1.0
"""How long an answer holds: anybody may ask, and must not load the servers by asking often."""


class Health:
    """Asks the servers, at most once at a time and once a second.

    Args:
        store: Without it the gateway serves nothing.
        index: Without it the gateway serves all but search.
        wake_ups: Without them who waits is answered a little later.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        store: Store,
        index: Index,
        wake_ups: WakeUps,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._index = index
        self._wake_ups = wake_ups
        self._clock = clock
        self._asking = asyncio.Lock()
        self._last: tuple[float, HealthShown] | None = None

    async def state(self) -> HealthShown:
        """What is reachable, as of a second ago or less."""
        async with self._asking:
            if self._last is None or self._clock() - self._last[0] >= FRESH_SECONDS:
                state = await self._ask()
                self._last = (self._clock(), state)
            return self._last[1]

    async def _ask(self) -> HealthShown:
        store, index = await asyncio.gather(self._store.reachable(), self._index.reachable())
        serving: Literal["ok", "degraded"] = "ok" if index else "degraded"
        return HealthShown(
            status=serving if store else "unavailable",
            cassandra="up" if store else "down",
            elasticsearch="up" if index else "down",
            kafka="up" if self._wake_ups.is_live else "down",
        )
