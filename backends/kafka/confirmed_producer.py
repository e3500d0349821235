"""Appends single records, each of which is durable when the call returns."""

from __future__ import annotations

from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from backends.kafka.clients import producer_config
from schemas.errors import ServerUnavailable
from schemas.settings import Settings

CONFIRMED_SECONDS: Final = 30.0
"""Timeout of the broker's confirmation of one record."""


class ConfirmedProducer:
    """Appends single records and waits for the confirmation of each.

    Args:
        settings: The deployment.
        seconds: Timeout of the confirmation.
    """

    def __init__(self, settings: Settings, seconds: float = CONFIRMED_SECONDS) -> None:
        self._seconds = seconds
        self._producer = Producer(
            producer_config(settings)
            | {"delivery.timeout.ms": int(seconds * 1000), "linger.ms": 0}
        )

    def append(
        self,
        topic: str,
        *,
        key: bytes | None = None,
        value: bytes | None = None,
        headers: list[tuple[str, str | bytes | None]] | None = None,
        partition: int = -1,
    ) -> None:
        """Returns when the record is durable. Partition -1: by the hash of the key.

        Raises:
            ServerUnavailable: The broker does not confirm the record. It may be durable.
        """
        failures: list[KafkaError | None] = []

        def on_delivery(error: KafkaError | None, _message: Message) -> None:
            failures.append(error)

        try:
            self._producer.produce(
                topic, value, key, partition, on_delivery=on_delivery, headers=headers or []
            )
        except KafkaException as error:
            raise ServerUnavailable(f"{topic} takes no records: {error}") from error
        self._producer.flush(self._seconds + 1)
        if failures != [None]:
            raise ServerUnavailable(f"{topic} did not confirm a record: {failures}")
