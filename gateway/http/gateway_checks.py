"""Liveness and readiness of a gateway, for `backends.monitoring`.

The gateway is live while its event loop runs. It is ready while `/healthz` answers 200.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future
from typing import Final

from aiohttp import web

from backends.monitoring.process_health import HEALTH_CHECK_SECONDS, ProcessHealth
from backends.processes.watchdog import Vitals
from gateway.http.routes import GATEWAY
from schemas.http.answers import HealthShown

_BEAT_SECONDS: Final = 1.0
_SERVES: Final = frozenset({"ok", "degraded"})


async def gateway_checks(health: ProcessHealth, app: web.Application) -> AsyncIterator[None]:
    """Adds the checks when the application starts; a cleanup context."""
    vitals, loop = Vitals(), asyncio.get_running_loop()

    def not_ready() -> str | None:
        asked: Future[HealthShown]
        asked = asyncio.run_coroutine_threadsafe(app[GATEWAY].health.state(), loop)
        try:
            shown = asked.result(HEALTH_CHECK_SECONDS)
        except TimeoutError:
            asked.cancel()
            return "the servers were not checked in time"
        if shown.status in _SERVES:
            return None
        return f"it is {shown.status}: Cassandra is {shown.cassandra}, Kafka is {shown.kafka}"

    async def beat() -> None:
        while True:
            vitals.beat(1, has_moved=True)
            await asyncio.sleep(_BEAT_SECONDS)

    beating = asyncio.create_task(beat())
    health.live_while(vitals.not_live)
    health.ready_while(servers=not_ready)
    health.begun()
    yield
    beating.cancel()
