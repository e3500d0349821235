"""Sends commands with one Kafka producer until the producer fails.

With idempotence and without message expiry, librdkafka preserves the order of each partition and
retries without limit. An error that it reports anyway cannot be repaired by a retry (its producer
id was fenced, the topic is gone, …). The producer is then closed, and a new producer continues
from the oldest unacknowledged command.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from backends.kafka.clients import producer_config
from producers.backlog import Parcel
from producers.checked import CheckedProducer
from schemas.settings import Settings
from schemas.valid_commands import MAX_BATCH_BYTES

GRACE_SECONDS: Final = 2.0
"""Time for a failed producer to deliver pending messages, before it is purged."""


class KafkaProducer(Protocol):
    """The part of `confluent_kafka.Producer` that a courier uses."""

    def produce(
        self, topic: str, *, value: bytes, key: bytes, on_delivery: Callable[[Any, Any], None]
    ) -> None:
        """Queue a message, or raise BufferError or KafkaException."""

    def poll(self, timeout: float) -> int:
        """Serve delivery reports for at most ``timeout`` seconds.

        Raises KafkaException if the producer has failed, and WrongDeployment.
        """

    def purge(self) -> None:
        """Fail all queued and in-flight messages."""


MakeProducer: TypeAlias = Callable[[], KafkaProducer]


def kafka_producer(settings: Settings, linger_ms: float) -> KafkaProducer:
    """Return a producer that never expires a message and never reorders messages."""
    config = producer_config(settings) | {
        "message.timeout.ms": 0,  # a long outage must not fail a message
        # A permanent failure of a message stops the producer, so that no later message passes it.
        "enable.gapless.guarantee": True,
        "message.max.bytes": MAX_BATCH_BYTES,
        "linger.ms": linger_ms,
    }
    return CheckedProducer(settings, Producer(config))


class Courier:
    """Sends parcels with one producer.

    `send` may be called while another thread is in `collect`.

    Attributes:
        failure: Why the producer failed; None while it works.
    """

    def __init__(self, topic: str, make_producer: MakeProducer) -> None:
        self.failure: KafkaError | None = None
        self._topic = topic
        self._acknowledged: deque[Parcel] = deque()
        self._reported = 0
        self._sent = 0
        self._producer = make_producer()

    def send(self, parcel: Parcel) -> bool:
        """Pass a parcel to the producer.

        Returns:
            Whether the parcel was accepted. If not, the queue is full, or `failure` is set.
        """
        if self.failure is not None:
            return False
        report = partial(self._on_delivery, parcel)
        try:
            self._producer.produce(
                self._topic, value=parcel.value, key=parcel.key, on_delivery=report
            )
        except BufferError:
            return False
        except KafkaException as error:
            self._fail(error.args[0])
            return False
        self._sent += 1
        return True

    def collect(self, timeout: float) -> list[Parcel]:
        """Wait at most ``timeout`` seconds for delivery reports; return acknowledged parcels.

        Raises:
            WrongDeployment: The topics are not those of the deployment.
            AccessRefused: The broker refuses the client.
        """
        try:
            self._producer.poll(timeout)
        except KafkaException as error:
            self._fail(error.args[0])
        count = len(self._acknowledged)
        return [self._acknowledged.popleft() for _ in range(count)]

    def give_up(self) -> list[Parcel]:
        """Close this producer, within about two times `GRACE_SECONDS`.

        A purged request that is in flight may still reach the log. The log then has a second
        copy of a command that is sent again; the sequencer recognises it by its id.

        Returns:
            All parcels acknowledged until the end.
        """
        acknowledged = self._drain(GRACE_SECONDS)
        self._producer.purge()
        return acknowledged + self._drain(GRACE_SECONDS)

    def _drain(self, seconds: float) -> list[Parcel]:
        acknowledged = []
        deadline = time.monotonic() + seconds
        while self._reported < self._sent and time.monotonic() < deadline:
            acknowledged += self.collect(0.05)
        return acknowledged + self.collect(0)

    def _on_delivery(self, parcel: Parcel, error: KafkaError | None, _message: Message) -> None:
        self._reported += 1
        if error is None:
            self._acknowledged.append(parcel)
        else:
            self._fail(error)

    def _fail(self, error: KafkaError) -> None:
        if self.failure is None:
            self.failure = error
