"""Whether the gateway can serve."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from gateway.http.deployment_guard import Checked
from gateway.http.draining import Draining
from gateway.log.wake_ups import WakeUps
from gateway.store.index_port import Index
from gateway.store.store_port import Store
from schemas.http.answers import HealthShown, HealthStatus

FRESH_SECONDS: Final = 1.0
"""Cache time of a result: anybody may call this route and must not load the servers by it."""


class Health:
    """Checks the servers, at most one check at a time and once a second.

    Args:
        store: While it is unreachable, the gateway serves nothing.
        index: While it is unreachable, the gateway serves everything except search.
        wake_ups: Without live wake-ups, waiting requests are answered later.
        checked: The data that is verified to belong to this deployment.
        draining: Whether the gateway is about to end.
        clock: Monotonic time in seconds.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - its parts
        self,
        store: Store,
        index: Index,
        wake_ups: WakeUps,
        checked: Checked,
        draining: Draining,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._index = index
        self._wake_ups = wake_ups
        self._checked = checked
        self._draining = draining
        self._clock = clock
        self._asking = asyncio.Lock()
        self._last: tuple[float, HealthShown] | None = None

    async def state(self) -> HealthShown:
        """The reachable servers, at most `FRESH_SECONDS` ago."""
        async with self._asking:
            if self._last is None or self._clock() - self._last[0] >= FRESH_SECONDS:
                state = await self._ask()
                self._last = (self._clock(), state)
        state = self._last[1]
        return replace(state, status="ending") if self._draining.has_begun else state

    async def _ask(self) -> HealthShown:
        store, index = await asyncio.gather(self._store.reachable(), self._index.reachable())
        index = index and self._checked.index
        return HealthShown(
            status=self._status(store=store, index=index),
            cassandra="up" if store else "down",
            elasticsearch="up" if index else "down",
            kafka="up" if self._wake_ups.is_live else "down",
            deployment=self._checked.deployment,
        )

    def _status(self, *, store: bool, index: bool) -> HealthStatus:
        if not store:
            return "unavailable"
        if not self._checked.store:
            return "starting"
        return "ok" if index else "degraded"
