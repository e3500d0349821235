"""Appends contacts to the topic ``contacts``: key is the person's id, value an empty object."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from threading import Event, Lock, Thread
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from backends.kafka import producer_config
from gateway.bridge import Bridge
from schemas.errors import ServerUnavailable
from schemas.settings import Settings
from schemas.topics import CONTACT, Topic

log = logging.getLogger(__name__)

MAX_QUEUED: Final = 10_000
"""Contacts that wait for the broker; some 5 MB."""

EXPIRY_MS: Final = 10_000
"""After this time without an acknowledgement a contact has failed."""

_POLL_SECONDS: Final = 0.5
_JOIN_SECONDS: Final = 5.0


class ContactProducer:
    """`gateway.contacts.ContactAppender` in Kafka. Made on the event loop.

    A client that lost all brokers may never find one again (ADR 29). So after a contact that
    failed, another client takes its place.

    Args:
        settings: The deployment.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = settings.topic(Topic.CONTACTS)
        self._bridge: Bridge[None] = Bridge()
        self._producer = self._new_producer()
        self._using = Lock()  # nothing may be appended to a client that was given up
        self._has_failed = Event()
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="contact-producer", daemon=True)

    def start(self) -> None:
        """Begins to serve acknowledgements."""
        self._thread.start()

    async def stop(self) -> None:
        """Ends. Waits for that within a bound; contacts that are not acknowledged then fail."""
        self._stopping.set()
        await asyncio.to_thread(self._thread.join, _JOIN_SECONDS)

    def append(self, user: str) -> asyncio.Future[None]:
        """See `gateway.contacts.ContactAppender`."""
        appending = self._bridge.future()
        answered = partial(self._answered, appending)
        try:
            with self._using:
                self._producer.produce(self._topic, CONTACT, user.encode(), on_delivery=answered)
        except (BufferError, KafkaException) as error:
            raise ServerUnavailable(f"a contact is not taken: {type(error).__name__}") from None
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
                "enable.idempotence": False,  # a contact twice does no harm, a fatal error does
                "message.timeout.ms": EXPIRY_MS,
                "queue.buffering.max.messages": MAX_QUEUED,
            }
        )


def _give_up(producer: Producer) -> None:
    """Fails the contacts that a client still has."""
    producer.purge()
    producer.flush(_POLL_SECONDS)
