"""The store of devices as a port. `gateway.store.cassandra_devices` implements it on Cassandra."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from schemas.number_types import Milliseconds, SyncSeqId
from schemas.records import NewDevicePolicy

MAX_DEVICES: Final = 32
"""Maximum number of devices of one person."""


class Registered(NamedTuple):
    """A device as it was registered.

    ``registration`` is the id of this registration: a device that was removed and registers again
    has a new one. ``window`` is the number of SeqIds of the policy ``window``. ``since`` is the
    time of the registration, ``seen`` the time of the last cursor report, in milliseconds since
    1970. ``cursor`` is the sync SeqId up to which the device has applied its sync timeline.
    """

    device_id: str
    registration: str
    policy: NewDevicePolicy
    window: int
    since: Milliseconds
    cursor: SyncSeqId
    seen: Milliseconds


class DeviceStore(Protocol):
    """The devices of people. Each method raises `ServerUnavailable` without a timely response."""

    async def devices(self, user: str) -> list[Registered]:
        """All devices of ``user``, by id."""

    async def register(self, user: str, device: Registered) -> Registered | None:
        """Registers a device. Safe while other gateways register devices.

        Returns:
            The registered device with this id: the given one, or an earlier one. None if the
            person has `MAX_DEVICES` devices with other ids.
        """

    async def move_cursor(
        self, user: str, registration: str, cursor: SyncSeqId, seen: Milliseconds
    ) -> None:
        """Moves a device's cursor forward; a higher cursor is not moved back."""

    async def take_out(self, user: str, device: Registered) -> None:
        """Removes a device, and its cursor permanently."""
