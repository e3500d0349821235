"""One Kafka producer's life: it carries commands to the broker until something breaks it.

With idempotence and no expiry of messages, librdkafka keeps each partition's order and retries
by itself for ever. What it then still reports as failed is beyond repair by retrying in place
(its ids were fenced, the topic is gone, …): this producer is given up, and another one goes on
from the oldest command that was not acknowledged.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from backends.kafka import producer_config
from producers.backlog import Parcel
from producers.checked import CheckedProducer
from producers.validation import MAX_RECORD_BYTES
from schemas.settings import Settings

_log = logging.getLogger(__name__)

GRACE_SECONDS: Final = 2.0
"""What a broken producer gets to deliver what it can still deliver, before it is purged."""


class KafkaProducer(Protocol):
    """What a courier uses of `confluent_kafka.Producer`."""

    def produce(
        self, topic: str, *, value: bytes, key: bytes, on_delivery: Callable[[Any, Any], None]
    ) -> None:
        """Takes a message, or raises BufferError or KafkaException."""

    def poll(self, timeout: float) -> int:
        """Serves delivery reports for at most so many seconds.

        Raises KafkaException if the producer is broken, and WrongDeployment.
        """

    def purge(self) -> None:
        """Fails all that is queued and in flight."""


MakeProducer: TypeAlias = Callable[[], KafkaProducer]


def kafka_producer(settings: Settings, linger_ms: float) -> KafkaProducer:
    """A producer that never lets a message expire, nor one overtake another."""
    config = producer_config(settings) | {
        "message.timeout.ms": 0,  # a long outage must not fail a message
        # A message that fails for good stops the producer, so that none overtakes it.
        "enable.gapless.guarantee": True,
        "message.max.bytes": MAX_RECORD_BYTES,
        "linger.ms": linger_ms,
        # Warnings are of connections that come and go, and that the line above is experimental.
    }
    return CheckedProducer(settings, Producer(config, logger=_log))


class Courier:
    """Carries parcels with one producer.

    `send` may be called while another thread is in `collect`.

    Attributes:
        failure: What broke it; None while it works.
    """

    def __init__(self, topic: str, make_producer: MakeProducer) -> None:
        self.failure: KafkaError | None = None
        self._topic = topic
        self._acknowledged: deque[Parcel] = deque()
        self._reported = 0
        self._sent = 0
        self._producer = make_producer()

    def send(self, parcel: Parcel) -> bool:
        """Hands a parcel over.

        Returns:
            Whether it was taken; if not, there is no room for now, or `failure` is set.
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
        """Waits at most so many seconds for delivery reports; returns what was acknowledged.

        Raises:
            WrongDeployment: The topics are not those of the deployment.
        """
        try:
            self._producer.poll(timeout)
        except KafkaException as error:
            self._fail(error.args[0])
        count = len(self._acknowledged)
        return [self._acknowledged.popleft() for _ in range(count)]

    def give_up(self) -> list[Parcel]:
        """Ends this producer within `GRACE_SECONDS` or little more.

        What is purged may still reach the log, if its request was on the way. That is a second
        copy of a command that is sent again: the sequencer knows it by its id.

        Returns:
            What was acknowledged up to the end.
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
