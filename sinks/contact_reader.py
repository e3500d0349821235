"""The recent contacts of people, from the topic ``contacts``: see `schemas.lifetime`."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Final, Protocol

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from backends.kafka.clients import admin_client, consumer_config
from backends.kafka.partition_ends import written_ends
from backends.processes.minute_log import MinuteLog
from schemas.errors import ServerUnavailable, TransientFailure
from schemas.lifetime import contact_interval, inactive_after
from schemas.number_types import Offset
from schemas.settings import Settings
from schemas.topics import Topic
from sinks.base.consumer import raise_if_fatal

MAX_PEOPLE: Final = 2_000_000
"""Maximum number of people whose contacts are remembered."""

CATCH_UP_SECONDS: Final = 20.0
"""Time limit for the reading of contacts in one call. The next call continues from there."""

REQUEST_SECONDS: Final = 5.0
"""Timeout of one request to the broker."""

_POLL_SECONDS: Final = 0.1
_GULP: Final = 10_000
_FETCHED_AHEAD_KIB: Final = 4 * 1024

_logger = logging.getLogger(__name__)


class ContactBook:
    """The newest contact of each person that is not too old to count.

    Args:
        lifetime: Minimum retention of a sync record.
        size: Maximum number of people. While there are more, nobody counts as inactive.
    """

    def __init__(self, lifetime: timedelta, size: int = MAX_PEOPLE) -> None:
        self._inactive_seconds = inactive_after(lifetime).total_seconds()
        self._interval = contact_interval(lifetime).total_seconds()
        self._size = size
        self._contact_times: dict[bytes, float] = {}
        self._next_drop = 0.0
        self._is_full = False
        self._limit_log = MinuteLog(_logger)

    def __len__(self) -> int:
        return len(self._contact_times)

    def take(self, user: bytes, at: float) -> None:
        """Adds a contact.

        Args:
            user: The person.
            at: The time of the contact, in seconds since 1970.
        """
        if user not in self._contact_times and len(self._contact_times) >= self._size:
            self._is_full = True
        else:
            self._contact_times[user] = max(at, self._contact_times.get(user, at))

    def inactive(self, users: Iterable[bytes], now: float) -> set[bytes]:
        """The people among ``users`` without a contact that counts.

        Args:
            users: The people to check.
            now: Seconds since 1970.
        """
        if self._is_full:
            self._limit_log.warning(
                "more than %d people had contact: no recipient is skipped", self._size
            )
            return set()
        self._drop_old(now)
        newest, oldest = self._contact_times.get, now - self._inactive_seconds
        return {user for user in users if newest(user, -math.inf) < oldest}

    def _drop_old(self, now: float) -> None:
        """Removes old contacts, once in an interval, so that a call is cheap."""
        if now >= self._next_drop:
            oldest = now - self._inactive_seconds
            self._contact_times = {
                user: at for user, at in self._contact_times.items() if at >= oldest
            }
            self._next_drop = now + self._interval


class ContactConsumer(Protocol):
    """The methods of `confluent_kafka.Consumer` that are used here; see its documentation."""

    def poll(self, timeout: float) -> Message | None:
        """The next message or event within the timeout."""

    def consume(self, num_messages: int, timeout: float) -> list[Message]:
        """The messages and events that arrive within the timeout."""
        ...


class ContactLog:
    """Follows ``contacts``.

    A contact that the broker confirmed before a call of `inactive` counts in that call. So a
    recipient with a contact before a record is sent gets a row for the record.

    Args:
        consumer: Reads all partitions from their beginnings, and reports their ends.
        ends: Requests the end of each partition.
        book: Receives the contacts.
        monotonic: The clock for waits.
    """

    def __init__(
        self,
        consumer: ContactConsumer,
        ends: Callable[[], dict[int, Offset]],
        book: ContactBook,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._consumer = consumer
        self._ends = ends
        self._book = book
        self._monotonic = monotonic
        self._next_offsets: dict[int, Offset] = {}
        """The next offset to read, by partition."""

    def inactive(self, users: Sequence[bytes], now: float) -> set[bytes]:
        """The people among ``users`` without contact for a lifetime.

        Requests the ends of the log only if a person appears to be inactive.

        Args:
            users: The people to check.
            now: Seconds since 1970.

        Raises:
            TransientFailure: The log was not read to its end in time.
            FatalFailure: The client cannot continue.
        """
        self._read(0)
        inactive = self._book.inactive(users, now)
        if not inactive:
            return inactive
        self._catch_up()
        return self._book.inactive(inactive, now)

    def _catch_up(self) -> None:
        deadline = self._monotonic() + CATCH_UP_SECONDS
        ends = self._ends()
        while any(self._next_offsets.get(partition, 0) < end for partition, end in ends.items()):
            self._read(_POLL_SECONDS)
            if self._monotonic() > deadline:
                raise TransientFailure(f"contacts were not read within {CATCH_UP_SECONDS:.0f} s")

    def _read(self, wait: float) -> None:
        """Waits only for the first message, and takes all available messages."""
        first = self._consumer.poll(wait)
        if first is None:
            return
        self._take(first)
        for message in self._consumer.consume(_GULP, 0):
            self._take(message)

    def _take(self, message: Message) -> None:
        error = message.error()
        partition, offset, user = message.partition(), message.offset(), message.key()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
            raise_if_fatal(error)
        elif partition is None or offset is None:
            return
        elif error is not None:
            self._next_offsets[partition] = Offset(offset)
        else:
            self._next_offsets[partition] = Offset(offset + 1)
            if user is not None:
                self._book.take(user, message.timestamp()[1] / 1000)


@contextmanager
def contact_log(settings: Settings) -> Iterator[ContactLog]:
    """The contacts of a deployment.

    Raises:
        ServerUnavailable: The broker does not answer, or there is no such topic.
    """
    topic = settings.topic(Topic.CONTACTS)
    config = consumer_config(settings, settings.group("contacts")) | {
        "enable.partition.eof": True,
        "queued.max.messages.kbytes": _FETCHED_AHEAD_KIB,
    }
    with closing(Consumer(config)) as consumer:
        try:
            partitions = consumer.list_topics(topic, REQUEST_SECONDS).topics[topic].partitions
        except KafkaException as error:
            raise ServerUnavailable(f"Kafka does not answer: {error}") from error
        if not partitions:
            raise ServerUnavailable(f"{topic}: no such topic; `im prepare` makes it")
        places = [TopicPartition(topic, each, OFFSET_BEGINNING) for each in partitions]
        consumer.assign(places)
        admin = admin_client(settings)
        book = ContactBook(settings.sync_lifetime)
        yield ContactLog(consumer, lambda: _ends(admin, places), book)


def _ends(admin: AdminClient, places: Sequence[TopicPartition]) -> dict[int, Offset]:
    """The end of each partition.

    Raises:
        TransientFailure: The broker does not answer.
    """
    try:
        ends = written_ends(admin, places, REQUEST_SECONDS)
    except (KafkaException, TimeoutError) as error:
        raise TransientFailure(f"the ends of the contacts are not known: {error}") from error
    return {partition: end for (_, partition), end in ends.items()}
