"""Removes addresses that their provider no longer accepts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from backends.kafka.clients import producer_config
from backends.kafka.user_records import push_device_record
from schemas.errors import TransientFailure
from schemas.push_devices import PushDevice
from schemas.settings import Settings

FLUSH_SECONDS: Final = 10.0
"""Time limit for the broker's confirmation of a removal."""


class PresentDevices(Protocol):
    """The present devices of people, such as `sinks.push.push_people.PushPeople`."""

    def devices(self, user: str) -> Mapping[str, PushDevice]:
        """The devices of a person that have an address, by id."""
        ...


class AddressRemovals:
    """Removes addresses from ``push-devices``. For the threads of ``addresses``.

    A device may register another address while its provider refuses the earlier one. So only the
    refused registration is removed. A registration of the last milliseconds, which has not arrived
    here, may be removed with it: the device registers again at its next start.

    Args:
        settings: The deployment.
        addresses: The present addresses.
    """

    def __init__(self, settings: Settings, addresses: PresentDevices) -> None:
        self._settings = settings
        self._addresses = addresses
        self._producer = Producer(producer_config(settings))

    def remove(self, user: str, device_id: str, refused: PushDevice) -> bool:
        """Removes the address of a device, if it is still the refused one. Waits for the broker.

        Returns:
            Whether the address was removed.

        Raises:
            TransientFailure: The broker has not confirmed the removal in time. A repetition does
                no harm.
        """
        if self._addresses.devices(user).get(device_id) != refused:
            return False
        failures: list[KafkaError] = []

        def note(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                failures.append(error)

        record = push_device_record(self._settings, user, device_id, None)
        try:
            self._producer.produce(*record, on_delivery=note)
            left = self._producer.flush(FLUSH_SECONDS)
        except (BufferError, KafkaException) as error:
            raise TransientFailure(f"an address is not removed: {type(error).__name__}") from None
        if left or failures:
            raise TransientFailure("an address is not removed: the broker did not confirm it")
        return True
