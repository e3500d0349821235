"""What the gateway keeps of devices, as a port. Cassandra is behind it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from schemas.records import NewDevicePolicy


class Registered(NamedTuple):
    """A device as it was registered.

    ``registration`` names this registration of it and no other: a device that was taken out and
    registers again is another one. ``window`` is that of the policy ``window``. ``since`` is when
    it registered, ``seen`` when it last told its cursor, in milliseconds since 1970. ``cursor``
    is the sync SeqId up to which it has applied its sync timeline.
    """

    device_id: str
    registration: str
    policy: NewDevicePolicy
    window: int
    since: int
    cursor: int
    seen: int


class DeviceStore(Protocol):
    """Each raises `ServerUnavailable` when the store does not answer in time."""

    async def devices(self, user: str) -> list[Registered]:
        """All devices of ``user``, by id."""

    async def register(self, user: str, device: Registered) -> None:
        """Keeps a device. If there is one of this id, it is replaced."""

    async def move_cursor(self, user: str, registration: str, cursor: int, seen: int) -> None:
        """Moves a device's cursor forward; one that is further on already stays."""

    async def take_out(self, user: str, device: Registered) -> None:
        """Forgets a device, and its cursor for good."""
