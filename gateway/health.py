"""Whether the gateway can serve."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from gateway.answers import HealthShown, Status
from gateway.deployment_guard import Checked
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
        checked: Data that is not known to be of this deployment is not served.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        store: Store,
        index: Index,
        wake_ups: WakeUps,
        checked: Checked,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._index = index
        self._wake_ups = wake_ups
        self._checked = checked
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
        index = index and self._checked.index
        return HealthShown(
            status=self._status(store=store, index=index),
            cassandra="up" if store else "down",
            elasticsearch="up" if index else "down",
            kafka="up" if self._wake_ups.is_live else "down",
        )

    def _status(self, *, store: bool, index: bool) -> Status:
        if not store:
            return "unavailable"
        if not self._checked.store:
            return "starting"
        return "ok" if index else "degraded"
