"""Records about people's devices and connections, as a producer takes them."""

from __future__ import annotations

from typing import NamedTuple

from backends.kafka.clients import partition_of
from schemas.codec import encode
from schemas.live_people import LIVE_RECORD
from schemas.push_devices import PushDevice
from schemas.settings import Settings
from schemas.topics import CONTACT, Topic
from schemas.user_keys import user_part_key


class UserRecord(NamedTuple):
    """A record for a producer. The partition is that of the person, whatever the key is."""

    topic: str
    value: bytes | None
    key: bytes
    partition: int


def contact_record(settings: Settings, user: str) -> UserRecord:
    """The record of a contact: see `schemas.lifetime`."""
    return _record(settings, Topic.CONTACTS, CONTACT, user.encode(), user)


def push_device_record(
    settings: Settings, user: str, device_id: str, device: PushDevice | None
) -> UserRecord:
    """The record of the push address of a device; None removes the address."""
    key, value = user_part_key(user, device_id), None if device is None else encode(device)
    return _record(settings, Topic.PUSH_DEVICES, value, key, user)


def live_record(settings: Settings, user: str, gateway: str, *, is_live: bool) -> UserRecord:
    """The record of a person with a live connection to a gateway, or of its end."""
    value = LIVE_RECORD if is_live else None
    return _record(settings, Topic.LIVE, value, user_part_key(user, gateway), user)


def _record(
    settings: Settings, topic: Topic, value: bytes | None, key: bytes, user: str
) -> UserRecord:
    place = partition_of(user, settings.partitions)
    return UserRecord(settings.topic(topic), value, key, place)
