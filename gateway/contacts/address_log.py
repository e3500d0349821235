"""The push addresses of devices on the log, and what the gateway offers for push."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from backends.kafka.user_records import live_record, push_device_record
from gateway.contacts.connection_records import LiveConnections, NoConnectionRecords
from gateway.contacts.record_producer import RecordProducer
from schemas.errors import ServerUnavailable
from schemas.number_types import Milliseconds
from schemas.push_addresses import PushAddress
from schemas.push_devices import PushDevice
from schemas.settings import Settings


class AddressLog(Protocol):
    """The topic of push addresses. Each method waits until the record is durable."""

    async def put(self, user: str, device_id: str, address: PushAddress) -> None:
        """Replaces the address of a device.

        Raises:
            ServerUnavailable: The broker has not confirmed the record in time.
        """

    async def remove(self, user: str, device_id: str) -> None:
        """Removes the address of a device, if it has one. Errors as for `put`."""


class NoAddressLog:
    """For a gateway without a log: a device cannot have an address."""

    async def put(self, user: str, device_id: str, address: PushAddress) -> None:
        """See `AddressLog`."""
        del user, device_id, address
        raise ServerUnavailable("the gateway has no log")

    async def remove(self, user: str, device_id: str) -> None:
        """See `AddressLog`."""


class PushInputs(NamedTuple):
    """The inputs of the push stage that a gateway writes.

    ``vapid_key`` is the public key of Web Push, None if the deployment has none.
    """

    addresses: AddressLog = NoAddressLog()
    live: LiveConnections = NoConnectionRecords()
    vapid_key: str | None = None


class KafkaAddressLog:
    """`AddressLog` on the topic ``push-devices``.

    Args:
        settings: The deployment.
        producer: Appends the records.
        now: Seconds since 1970.
    """

    def __init__(
        self, settings: Settings, producer: RecordProducer, now: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._producer = producer
        self._now = now

    async def put(self, user: str, device_id: str, address: PushAddress) -> None:
        """See `AddressLog`."""
        device = PushDevice(at=Milliseconds(int(self._now() * 1000)), address=address)
        await self._producer.append(push_device_record(self._settings, user, device_id, device))

    async def remove(self, user: str, device_id: str) -> None:
        """See `AddressLog`."""
        await self._producer.append(push_device_record(self._settings, user, device_id, None))


class LiveProducer:
    """`gateway.contacts.connection_records.LiveAppender` in Kafka.

    Args:
        settings: The deployment.
        producer: Appends the records.
        gateway: Names this process among all gateways, at each start by another name.
    """

    def __init__(self, settings: Settings, producer: RecordProducer, gateway: str) -> None:
        self._settings = settings
        self._producer = producer
        self._gateway = gateway

    def append(self, user: str, *, is_live: bool) -> asyncio.Future[None]:
        """See `gateway.contacts.connection_records.LiveAppender`."""
        record = live_record(self._settings, user, self._gateway, is_live=is_live)
        return self._producer.append(record)
