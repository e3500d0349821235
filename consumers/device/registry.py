"""The device registry over HTTP: registers a device, reads its starts, reports its cursor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import aiohttp

from consumers.device.knowledge import Beginning, ShownFrom
from consumers.gateway_client import GatewayClient
from schemas.http.bodies import MoveCursor, RegisterDevice
from schemas.http.queries import BeginningsQuery
from schemas.number_types import SyncSeqId

LIST_PAGE: Final = 200


class GatewayRegistry:
    """`timeline_port.Registry` of one person, over HTTP. Arguments: see `GatewayClient`."""

    def __init__(
        self, address: str, token: Callable[[], str], http: aiohttp.ClientSession
    ) -> None:
        self._gateway = GatewayClient(address, token, http)

    async def register(self, device_id: str) -> Beginning:
        """See `Registry`. Takes the cursor before the starts: nothing falls between the two."""
        device = await self._gateway.register(RegisterDevice(device_id))
        starts = [] if device.policy == "full-history" else await self._starts(device_id)
        return Beginning(device.policy, device.cursor, starts)

    async def report(self, device_id: str, cursor: SyncSeqId) -> None:
        """See `Registry`."""
        await self._gateway.move_cursor(device_id, MoveCursor(cursor))

    async def _starts(self, device_id: str) -> list[ShownFrom]:
        starts: list[ShownFrom] = []
        after: str | None = None
        while True:
            query = BeginningsQuery(after=after, limit=LIST_PAGE)
            page = await self._gateway.beginnings(device_id, query)
            starts += [ShownFrom(s.conv_id, s.first, s.head, s.mode) for s in page.conversations]
            if page.next is None:
                return starts
            after = page.next
