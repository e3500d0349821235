"""The push addresses of devices, from the topic ``push-devices``: see `schemas.push_devices`."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from confluent_kafka import Message

from backends.processes.minute_log import MinuteLog
from schemas.errors import UndecodableRecord
from schemas.push_devices import PushDevice, decode_push_device
from schemas.user_keys import user_part_of
from sinks.push.user_parts import put_part

_logger = logging.getLogger(__name__)


class AddressBook:
    """The newest address of each device.

    Values are decoded when they are needed: the bytes take a third of the memory of the decoded
    records. ``docs/push.md`` has the size for a million devices.
    """

    def __init__(self) -> None:
        self._values: dict[str, dict[str, bytes]] = {}
        self._trouble = MinuteLog(_logger)

    def __len__(self) -> int:
        """The number of people."""
        return len(self._values)

    def __contains__(self, user: str) -> bool:
        """Whether a device of a person has an address."""
        return user in self._values

    def take(self, key: bytes | None, value: bytes | None) -> None:
        """Applies the next record. A record of another version is ignored, and logged."""
        try:
            user, device_id = user_part_of(key)
        except UndecodableRecord as error:
            self._trouble.warning("a push address is ignored: %s", error)
            return
        put_part(self._values, user, device_id, value)

    def take_record(self, message: Message) -> None:
        """Applies the next record."""
        self.take(message.key(), message.value())

    def devices(self, user: str) -> Mapping[str, PushDevice]:
        """The devices of a person that have an address, by id."""
        found: dict[str, PushDevice] = {}
        for device_id, value in self._values.get(user, {}).items():
            try:
                device = decode_push_device(value)
            except UndecodableRecord as error:
                self._trouble.warning("a push address is ignored: %s", error)
                continue
            if device is not None:
                found[device_id] = device
        return found
