"""Devices on Cassandra: tables ``device`` and ``device_cursor``.

A person has `MAX_DEVICES` slots. A registration puts its device into a free slot by a lightweight
transaction, so two gateways never put two devices into one slot. The id of the device determines
the first slot to try, so two registrations of one device try the same slot first, and the second
registration finds the first. If another slot becomes free between the two registrations, each may
take a slot; then the registration in the lower slot counts.

Registrations of one person are serialized in this process, because competing lightweight
transactions of one partition are slow.

A cursor only moves forward, without a read before the write: the cursor is also the timestamp of
the write, so the highest cursor wins. Such a write cannot be undone. So a cursor belongs to a
registration, not to a device: a device that registers again has a new registration.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Final
from weakref import WeakValueDictionary
from zlib import crc32

from gateway.store.cassandra_queries import CassandraQueries
from gateway.store.device_port import MAX_DEVICES, Registered
from schemas.errors import ServerUnavailable
from schemas.number_types import Milliseconds, SyncSeqId

_FIRST_TIMESTAMP: Final = 2
"""The timestamp of the cursor -1: a timestamp must be above 0."""

_LAST_TIMESTAMP: Final = (1 << 63) - 1


_ATTEMPTS: Final = 2 * MAX_DEVICES
"""Attempts of one registration. Each failed attempt has lost a slot to another gateway."""


class DeviceQuery(Enum):
    """The queries."""

    DEVICES = (
        "SELECT slot, device_id, registration, policy, show_last, since, cursor, seen"
        " FROM device WHERE user_id = ?"
    )
    CURSORS = "SELECT registration, cursor, seen FROM device_cursor WHERE user_id = ?"
    REGISTER = (
        "INSERT INTO device"
        " (user_id, slot, device_id, registration, policy, show_last, since, cursor, seen)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS"
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
    FORGET = "DELETE FROM device WHERE user_id = ? AND slot = ? IF device_id = ?"


class CassandraDevices:
    """`gateway.store.device_port.DeviceStore` on Cassandra."""

    def __init__(self, queries: CassandraQueries) -> None:
        self._run = queries.run
        self._registering: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def devices(self, user: str) -> list[Registered]:
        """See `DeviceStore`."""
        by_id: dict[str, Registered] = {}
        for device in (await self._slots(user)).values():
            by_id.setdefault(device.device_id, device)
        latest = {
            registration: (cursor, seen)
            for registration, cursor, seen in await self._run(DeviceQuery.CURSORS, user)
        }
        return [
            _with_cursor(each, *latest.get(each.registration, (None, None)))
            for each in sorted(by_id.values())
        ]

    async def _slots(self, user: str) -> dict[int, Registered]:
        """The devices by slot, ascending, with the values of their registration."""
        rows = await self._run(DeviceQuery.DEVICES, user)
        return {slot: Registered(*registered) for slot, *registered in rows}

    async def register(self, user: str, device: Registered) -> Registered | None:
        """See `DeviceStore`."""
        lock = self._registering.setdefault(user, asyncio.Lock())
        async with lock:
            for _ in range(_ATTEMPTS):
                slots = await self._slots(user)
                there = {each.device_id: each for each in reversed(slots.values())}
                if device.device_id in there:
                    return there[device.device_id]
                free = [slot for slot in _probed(device.device_id) if slot not in slots]
                if not free:
                    return None
                rows = await self._run(DeviceQuery.REGISTER, user, free[0], *device)
                ((is_applied, *_),) = rows
                if is_applied:
                    return device
        raise ServerUnavailable("other registrations of this person are in the way")

    async def move_cursor(
        self, user: str, registration: str, cursor: SyncSeqId, seen: Milliseconds
    ) -> None:
        """See `DeviceStore`."""
        at = cursor + _FIRST_TIMESTAMP
        await self._run(DeviceQuery.CURSOR, user, registration, cursor, at)
        await self._run(DeviceQuery.SEEN, user, registration, seen, seen)

    async def take_out(self, user: str, device: Registered) -> None:
        """See `DeviceStore`."""
        for slot, there in (await self._slots(user)).items():
            if there.device_id == device.device_id:
                await self._run(DeviceQuery.FORGET, user, slot, device.device_id)
        await self._run(DeviceQuery.FORGET_CURSOR, _LAST_TIMESTAMP, user, device.registration)


def _probed(device_id: str) -> list[int]:
    """All slots, beginning with the slot that the id of a device determines."""
    first = crc32(device_id.encode())
    return [(first + step) % MAX_DEVICES for step in range(MAX_DEVICES)]


def _with_cursor(
    device: Registered, cursor: SyncSeqId | None, seen: Milliseconds | None
) -> Registered:
    """A device with its latest cursor; without one, the cursor of its registration."""
    return device._replace(
        cursor=device.cursor if cursor is None else max(device.cursor, cursor),
        seen=device.seen if seen is None else max(device.seen, seen),
    )
