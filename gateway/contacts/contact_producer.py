"""Appends contacts to the topic ``contacts``: the key is the person's id, the value is ``{}``."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from threading import Event, Lock, Thread
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from backends.kafka.clients import producer_config
from gateway.store.bridge import Bridge
from schemas.errors import ServerUnavailable
from schemas.settings import Settings
from schemas.topics import CONTACT, Topic

log = logging.getLogger(__name__)

MAX_QUEUED: Final = 10_000
"""Maximum number of contacts that wait for the broker; some 5 MB."""

EXPIRY_MS: Final = 10_000
"""Timeout of the acknowledgement of a contact."""

_POLL_SECONDS: Final = 0.5
_JOIN_SECONDS: Final = 5.0


class ContactProducer:
    """`gateway.contacts.contact_log.ContactAppender` in Kafka. Created on the event loop.

    A client that has lost all brokers may never reconnect (ADR 29). So a new client replaces the
    client after a failed contact.

    Args:
        settings: The settings of the deployment.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = settings.topic(Topic.CONTACTS)
        self._bridge: Bridge[None] = Bridge()
        self._producer = self._new_producer()
        self._using = Lock()  # no contact may be appended to a replaced client
        self._has_failed = Event()
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="contact-producer", daemon=True)

    def start(self) -> None:
        """Starts the thread that serves acknowledgements."""
        self._thread.start()

    async def stop(self) -> None:
        """Stops the thread within a bound. Contacts without acknowledgement then fail."""
        self._stopping.set()
        await asyncio.to_thread(self._thread.join, _JOIN_SECONDS)

    def append(self, user: str) -> asyncio.Future[None]:
        """See `gateway.contacts.contact_log.ContactAppender`."""
        appending = self._bridge.future()
        answered = partial(self._answered, appending)
        try:
            with self._using:
                self._producer.produce(self._topic, CONTACT, user.encode(), on_delivery=answered)
        except (BufferError, KafkaException) as error:
            raise ServerUnavailable(f"a contact is not queued: {type(error).__name__}") from None
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
                "message.timeout.ms": EXPIRY_MS,
                "queue.buffering.max.messages": MAX_QUEUED,
            }
        )


def _give_up(producer: Producer) -> None:
    """Fails the contacts that are still queued in a client."""
    producer.purge()
    producer.flush(_POLL_SECONDS)
