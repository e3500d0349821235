"""The devices of a person: each device has its own cursor and its own first SeqIds to show.

The policy of the deployment at the time of registration determines the first SeqIds; later
changes of the setting do not affect the device.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import NamedTuple

from gateway.errors import DeviceNotFound, TooManyDevices
from gateway.log.barrier import NO_BARRIER, Barrier
from gateway.reads.access import ConversationAccess
from gateway.reads.conversation_list import open_conversations
from gateway.reads.sync_page import sync_end
from gateway.store.device_port import MAX_DEVICES, Registered
from gateway.store.store_port import Store
from schemas.http.device_answers import BeginningShown, BeginningsPage, DeviceShown, DevicesShown
from schemas.number_types import FIRST_SEQ, Milliseconds, SeqId, SyncSeqId
from schemas.records import NewDevicePolicy


class NewDevices(NamedTuple):
    """A deployment's settings for new devices; ``window`` in SeqIds of each conversation."""

    policy: NewDevicePolicy
    window: int


async def register_device(  # noqa: PLR0913 - tests give another clock and another barrier
    store: Store,
    user: str,
    device_id: str,
    new: NewDevices,
    now: Callable[[], float] = time.time,
    *,
    barrier: Barrier = NO_BARRIER,
) -> DeviceShown:
    """Registers a device; a registered device keeps its cursor and its policy.

    Raises:
        TooManyDevices: The user has the maximum number of devices.
        ServerUnavailable: The store does not answer, or lacks entries of skipped records.
    """
    known = await store.devices.devices(user)
    for device in known:
        if device.device_id == device_id:
            return _shown(device)
    end = await sync_end(store, user, now, barrier)
    cursor, moment = end.next, Milliseconds(int(now() * 1000))
    device = Registered(
        device_id, uuid.uuid4().hex, new.policy, new.window, moment, cursor, moment
    )
    registered = await store.devices.register(user, device)
    if registered is None:
        raise TooManyDevices(MAX_DEVICES)
    return _shown(registered)


async def list_devices(store: Store, user: str) -> DevicesShown:
    """All devices of a user.

    Raises:
        ServerUnavailable: The store does not answer.
    """
    return DevicesShown(devices=[_shown(each) for each in await store.devices.devices(user)])


async def show_device(store: Store, user: str, device_id: str) -> DeviceShown:
    """One device.

    Raises:
        DeviceNotFound: There is no device with this id.
        ServerUnavailable: The store does not answer.
    """
    return _shown(await _device(store, user, device_id))


async def move_cursor(
    store: Store,
    user: str,
    device_id: str,
    cursor: SyncSeqId,
    now: Callable[[], float] = time.time,
) -> DeviceShown:
    """Moves the cursor of a device forward and records the time. Errors as for `show_device`."""
    device = await _device(store, user, device_id)
    seen = Milliseconds(int(now() * 1000))
    await store.devices.move_cursor(user, device.registration, cursor, seen)
    return _shown(device._replace(cursor=max(cursor, device.cursor), seen=max(seen, device.seen)))


async def take_out(store: Store, user: str, device_id: str) -> None:
    """Removes a device. Errors as for `show_device`."""
    await store.devices.take_out(user, await _device(store, user, device_id))


async def show_beginnings(
    store: Store, user: str, device_id: str, after: str, limit: int
) -> BeginningsPage:
    """The first SeqId that a new device shows of each of the user's conversations.

    For a device that has registered and has no data yet. The device must store the result: a later
    call returns another one. Errors as for `show_device`.
    """
    device = await _device(store, user, device_id)
    ids = await store.conversation_ids(user, after, limit + 1)
    more, ids = len(ids) > limit, ids[:limit]
    accesses = await open_conversations(store, user, ids)
    return BeginningsPage(
        conversations=[
            BeginningShown(
                conv_id=access.conv_id,
                first=_first(device, access),
                head=access.head,
                mode=access.mode if access.is_member else None,
            )
            for access in accesses.values()
        ],
        next=ids[-1] if more else None,
    )


def _first(device: Registered, access: ConversationAccess) -> SeqId:
    match device.policy:
        case "new-messages-only":
            return SeqId(access.head + 1)
        case "window":
            return max(FIRST_SEQ, SeqId(access.head - device.window + 1))
        case "full-history":
            return FIRST_SEQ


async def _device(store: Store, user: str, device_id: str) -> Registered:
    for device in await store.devices.devices(user):
        if device.device_id == device_id:
            return device
    raise DeviceNotFound


def _shown(device: Registered) -> DeviceShown:
    return DeviceShown(
        device_id=device.device_id,
        policy=device.policy,
        window=device.window if device.policy == "window" else None,
        since=device.since,
        cursor=device.cursor,
        seen=device.seen,
    )
