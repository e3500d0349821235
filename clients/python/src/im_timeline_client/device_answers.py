"""The responses of the gateway about devices. See `im_timeline_client.answers`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeviceShown:
    """A device of the person.

    ``policy`` is its policy at registration, with ``window`` in SeqIds. ``cursor`` is the sync
    SeqId of its last report, at the time ``seen``. ``since`` is the time of its registration.
    """

    device_id: str
    policy: str
    window: int | None
    since: int
    cursor: int
    seen: int


@dataclass(frozen=True, slots=True)
class DevicesShown:
    """All devices of the person, by id."""

    devices: tuple[DeviceShown, ...]


@dataclass(frozen=True, slots=True)
class PushOffered:
    """``vapid_key``: the public key of the deployment for Web Push; None if it has none."""

    vapid_key: str | None
