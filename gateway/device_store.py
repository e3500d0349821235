"""What the gateway keeps of devices, as a port. Cassandra is behind it."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from schemas.limits import MAX_SEQ
from schemas.records import NewDevicePolicy

MAX_DEVICES: Final = 32
"""Devices of one person."""

MAX_CURSOR: Final = MAX_SEQ - 3
"""The highest cursor of a device: the store writes it with a timestamp that is a little higher."""


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

    async def register(self, user: str, device: Registered) -> Registered | None:
        """Registers a device, also while other gateways do.

        Returns:
            The device that is registered by this id now: the given one, or one that was there
            before. None if the person has `MAX_DEVICES` of other ids.
        """

    async def move_cursor(self, user: str, registration: str, cursor: int, seen: int) -> None:
        """Moves a device's cursor forward; one that is further on already stays."""

    async def take_out(self, user: str, device: Registered) -> None:
        """Forgets a device, and its cursor for good."""
