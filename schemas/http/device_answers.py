"""The answers about the devices of the caller. See `schemas.http.answers`."""

from __future__ import annotations

from msgspec import Struct, field

from schemas.number_types import Milliseconds, SeqId, SyncSeqId
from schemas.records import FanoutMode, NewDevicePolicy


class DeviceShown(Struct, frozen=True, kw_only=True):
    """A device of the caller. ``policy`` is its policy at registration, with ``window`` in SeqIds.

    ``cursor`` is the sync SeqId up to which the device has applied the sync timeline: the
    ``after`` of its next request. ``since`` is the time of its registration, ``seen`` the time of
    its last cursor report, both in milliseconds since 1970.
    """

    device_id: str
    policy: NewDevicePolicy
    window: int | None
    since: Milliseconds
    cursor: SyncSeqId
    seen: Milliseconds


class DevicesShown(Struct, frozen=True, kw_only=True):
    """All devices of the caller, by id."""

    devices: list[DeviceShown]


class PushOffered(Struct, frozen=True, kw_only=True):
    """What a device needs for its registration for push.

    ``vapid_key`` is the public key of the deployment for Web Push, in base64url: the
    ``applicationServerKey`` of a browser's subscription. Null: the deployment has none.
    """

    vapid_key: str | None


class BeginningShown(Struct, frozen=True, kw_only=True):
    """A device shows a conversation from SeqId ``from`` on; with the present head and ``mode``."""

    conv_id: str
    first: SeqId = field(name="from")
    head: SeqId
    mode: FanoutMode | None


class BeginningsPage(Struct, frozen=True, kw_only=True):
    """The first SeqIds that a device shows of the caller's conversations, by conversation id.

    ``next`` is the ``after`` of the next page. A conversation that is on no page is newer than the
    device, which shows all of it.
    """

    conversations: list[BeginningShown]
    next: str | None
