"""The device registry over HTTP: registers a device, reads its starts, reports its cursor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import quote

import aiohttp
from msgspec import Struct, field

from consumers.device.http_client import GatewayHttp
from consumers.device.knowledge import Beginning, ShownFrom
from schemas.records import FanoutMode, NewDevicePolicy

LIST_PAGE: Final = 200


class _Device(Struct, frozen=True):
    policy: NewDevicePolicy
    cursor: int


class _Start(Struct, frozen=True):
    conv_id: str
    head: int
    mode: FanoutMode | None
    first: int = field(name="from")


class _Starts(Struct, frozen=True):
    conversations: list[_Start]
    next: str | None


class GatewayRegistry:
    """`timeline_port.Registry` of one person, over HTTP. Arguments: see `GatewayHttp`."""

    def __init__(
        self, address: str, token: Callable[[], str], http: aiohttp.ClientSession
    ) -> None:
        self._gateway = GatewayHttp(address, token, http)

    async def register(self, device_id: str) -> Beginning:
        """See `Registry`. Takes the cursor before the starts: nothing falls between the two."""
        body = {"device_id": device_id}
        device = await self._gateway.send("POST", "/v1/devices", _Device, body)
        starts = [] if device.policy == "full-history" else await self._starts(device_id)
        return Beginning(device.policy, device.cursor, starts)

    async def report(self, device_id: str, cursor: int) -> None:
        """See `Registry`."""
        path = f"/v1/devices/{quote(device_id, safe='')}/cursor"
        await self._gateway.send("PUT", path, _Device, {"cursor": cursor})

    async def _starts(self, device_id: str) -> list[ShownFrom]:
        path = f"/v1/devices/{quote(device_id, safe='')}/conversations"
        found: list[ShownFrom] = []
        after: str | None = None
        while True:
            asked = {"after": after, "limit": LIST_PAGE}
            page = await self._gateway.get(path, _Starts, asked)
            found += [ShownFrom(s.conv_id, s.first, s.head, s.mode) for s in page.conversations]
            if page.next is None:
                return found
            after = page.next
