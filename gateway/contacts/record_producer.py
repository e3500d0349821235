"""Appends records about people's devices and connections to their topics."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from threading import Event, Lock, Thread
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from backends.kafka.clients import producer_config
from backends.kafka.user_records import UserRecord, contact_record
from gateway.store.bridge import Bridge
from schemas.errors import ServerUnavailable
from schemas.settings import Settings

log = logging.getLogger(__name__)

MAX_QUEUED: Final = 10_000
"""Maximum number of records that wait for the broker; some 5 MB."""

EXPIRY_MS: Final = 10_000
"""Timeout of the acknowledgement of a record."""

_POLL_SECONDS: Final = 0.5
_JOIN_SECONDS: Final = 5.0


class RecordProducer:
    """Appends records of each key in their order. Created on the event loop.

    A client that has lost all brokers may never reconnect (ADR 29). So a new client replaces the
    client after a failed record.

    Args:
        settings: The settings of the deployment.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bridge: Bridge[None] = Bridge()
        self._producer = self._new_producer()
        self._using = Lock()  # no record may be appended to a replaced client
        self._has_failed = Event()
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="record-producer", daemon=True)

    def start(self) -> None:
        """Starts the thread that serves acknowledgements."""
        self._thread.start()

    async def stop(self) -> None:
        """Stops the thread within a bound. Records without acknowledgement then fail."""
        self._stopping.set()
        await asyncio.to_thread(self._thread.join, _JOIN_SECONDS)

    def append(self, record: UserRecord) -> asyncio.Future[None]:
        """A future that is done when the record is durable; it may fail with any error.

        Raises:
            ServerUnavailable: The queue is full.
        """
        appending = self._bridge.future()
        answered = partial(self._answered, appending)
        try:
            with self._using:
                self._producer.produce(*record, on_delivery=answered)
        except (BufferError, KafkaException) as error:
            raise ServerUnavailable(f"a record is not queued: {type(error).__name__}") from None
        return appending

    def _answered(
        self, appending: asyncio.Future[None], error: KafkaError | None, _message: Message
    ) -> None:
        if error is None:
            self._bridge.succeed(None, appending)
        else:
            self._has_failed.set()
            self._bridge.fail(ServerUnavailable(error.str()), appending)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._producer.poll(_POLL_SECONDS)
            if self._has_failed.is_set():
                self._replace()
        self._producer.flush(_POLL_SECONDS)
        _give_up(self._producer)

    def _replace(self) -> None:
        with self._using:
            before, self._producer = self._producer, self._new_producer()
        _give_up(before)
        self._has_failed.clear()

    def _new_producer(self) -> Producer:
        return Producer(
            producer_config(self._settings)
            | {
                "enable.idempotence": False,  # a duplicate is harmless, a fatal error is not
                # A retry does not overtake a later record of its device.
                "max.in.flight.requests.per.connection": 1,
                "message.timeout.ms": EXPIRY_MS,
                "queue.buffering.max.messages": MAX_QUEUED,
            }
        )


class ContactProducer:
    """`gateway.contacts.contact_log.ContactAppender` in Kafka."""

    def __init__(self, settings: Settings, producer: RecordProducer) -> None:
        self._settings = settings
        self._producer = producer

    def append(self, user: str) -> asyncio.Future[None]:
        """See `gateway.contacts.contact_log.ContactAppender`."""
        return self._producer.append(contact_record(self._settings, user))


def _give_up(producer: Producer) -> None:
    """Fails the records that are still queued in a client."""
    producer.purge()
    producer.flush(_POLL_SECONDS)
