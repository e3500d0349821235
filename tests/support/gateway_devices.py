"""The devices of an in-memory gateway."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from gateway.store.device_port import MAX_DEVICES, Registered
from schemas.number_types import Milliseconds, SyncSeqId


class FakeDevices:
    """`gateway.store.device_port.DeviceStore` in memory.

    Args:
        check: Raises an error if the store is unreachable.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._devices: dict[str, dict[str, Registered]] = defaultdict(dict)

    async def devices(self, user: str) -> list[Registered]:
        """See `DeviceStore`."""
        self._check()
        return [device for _, device in sorted(self._devices[user].items())]

    async def register(self, user: str, device: Registered) -> Registered | None:
        """See `DeviceStore`."""
        self._check()
        own = self._devices[user]
        if len(own) >= MAX_DEVICES and device.device_id not in own:
            return None
        return own.setdefault(device.device_id, device)

    async def move_cursor(
        self, user: str, registration: str, cursor: SyncSeqId, seen: Milliseconds
    ) -> None:
        """See `DeviceStore`."""
        for device in await self.devices(user):
            if device.registration == registration:
                self._devices[user][device.device_id] = device._replace(
                    cursor=max(cursor, device.cursor), seen=max(seen, device.seen)
                )

    async def take_out(self, user: str, device: Registered) -> None:
        """See `DeviceStore`."""
        self._devices[user].pop(device.device_id, None)
