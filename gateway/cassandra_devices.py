"""Devices on Cassandra: tables ``device`` and ``device_cursor``.

A cursor only goes forward, although nothing is read before it is written: it is written with
itself as the timestamp, so that the highest stays. What was written so cannot be taken back, so
it is kept by the registration and not by the device: one that registers anew has another.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from gateway.cassandra_queries import CassandraQueries
from gateway.device_store import Registered

_FIRST_TIMESTAMP: Final = 2
"""Of the cursor -1: a timestamp must be above 0."""

_LAST_TIMESTAMP: Final = (1 << 63) - 1


class DeviceQuery(Enum):
    """What is asked."""

    DEVICES = (
        "SELECT device_id, registration, policy, show_last, since FROM device WHERE user_id = ?"
    )
    CURSORS = "SELECT registration, cursor, seen FROM device_cursor WHERE user_id = ?"
    REGISTER = (
        "INSERT INTO device (user_id, device_id, registration, policy, show_last, since)"
        " VALUES (?, ?, ?, ?, ?, ?)"
    )
    CURSOR = (
        "INSERT INTO device_cursor (user_id, registration, cursor) VALUES (?, ?, ?)"
        " USING TIMESTAMP ?"
    )
    SEEN = (
        "INSERT INTO device_cursor (user_id, registration, seen) VALUES (?, ?, ?)"
        " USING TIMESTAMP ?"
    )
    FORGET_CURSOR = (
        "DELETE FROM device_cursor USING TIMESTAMP ? WHERE user_id = ? AND registration = ?"
    )
    FORGET = "DELETE FROM device WHERE user_id = ? AND device_id = ?"


class CassandraDevices:
    """`gateway.device_store.DeviceStore` on Cassandra."""

    def __init__(self, queries: CassandraQueries) -> None:
        self._run = queries.run

    async def devices(self, user: str) -> list[Registered]:
        """See `DeviceStore`."""
        devices = await self._run(DeviceQuery.DEVICES, user)
        cursors = {row[0]: row[1:] for row in await self._run(DeviceQuery.CURSORS, user)}
        return [
            Registered(*device, *cursors[device[1]]) for device in devices if device[1] in cursors
        ]

    async def register(self, user: str, device: Registered) -> None:
        """See `DeviceStore`. The cursor first: a device that is there has one."""
        await self.move_cursor(user, device.registration, device.cursor, device.seen)
        await self._run(DeviceQuery.REGISTER, user, *device[:5])

    async def move_cursor(self, user: str, registration: str, cursor: int, seen: int) -> None:
        """See `DeviceStore`."""
        at = cursor + _FIRST_TIMESTAMP
        await self._run(DeviceQuery.CURSOR, user, registration, cursor, at)
        await self._run(DeviceQuery.SEEN, user, registration, seen, seen)

    async def take_out(self, user: str, device: Registered) -> None:
        """See `DeviceStore`."""
        await self._run(DeviceQuery.FORGET, user, device.device_id)
        await self._run(DeviceQuery.FORGET_CURSOR, _LAST_TIMESTAMP, user, device.registration)
