"""The orderly end of a gateway: first the balancer learns of it, then the clients.

Steps:

1. `/healthz` answers 503 ``ending``, and each response ends its connection. New connections are
   still accepted for ``notice_seconds``, because a balancer that only checks the health sends
   clients until its next check.
2. The gateway accepts no connection any more.
3. Waits for new records are answered, and live connections are closed, one after the other
   (`gateway.log.wake_ups.WakeUps.drain`).
4. The requests in progress end, within a bound.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from gateway.log.wake_ups import WakeUps


class Draining:
    """Steps 1 and 3; `gateway.http.server` takes the others.

    Args:
        wake_ups: The waits of the gateway.
        notice_seconds: Duration of step 1.

    Attributes:
        has_begun: Whether the gateway is about to end.
    """

    def __init__(self, wake_ups: WakeUps, notice_seconds: float = 0.0) -> None:
        self.has_begun = False
        self._wake_ups = wake_ups
        self._notice_seconds = notice_seconds

    async def announce(self) -> None:
        """Step 1."""
        self.has_begun = True
        await asyncio.sleep(self._notice_seconds)

    async def end_waits(self) -> None:
        """Step 3."""
        self.has_begun = True
        await self._wake_ups.drain()


DRAINING: Final = web.AppKey("draining", Draining)
