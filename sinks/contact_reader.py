"""The recent contacts of people, from the topic ``contacts``: see `schemas.lifetime`."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from confluent_kafka import Message

from backends.processes.minute_log import MinuteLog
from schemas.lifetime import contact_interval, inactive_after
from schemas.settings import Settings
from schemas.topics import Topic
from sinks.topic_follower import TopicFollower, followed_topic

MAX_PEOPLE: Final = 2_000_000
"""Maximum number of people whose contacts are remembered."""

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

    def take_record(self, message: Message) -> None:
        """Adds the contact of a record."""
        user = message.key()
        if user is not None:
            self.take(user, message.timestamp()[1] / 1000)

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


class ContactLog:
    """Follows ``contacts``.

    A contact that the broker confirmed before a call of `inactive` counts in that call. So a
    recipient with a contact before a record is sent gets a row for the record.

    Args:
        follower: Passes the contacts to the book.
        book: Receives the contacts.
    """

    def __init__(self, follower: TopicFollower, book: ContactBook) -> None:
        self._follower = follower
        self._book = book

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
        self._follower.read()
        inactive = self._book.inactive(users, now)
        if not inactive:
            return inactive
        self._follower.catch_up()
        return self._book.inactive(inactive, now)


@contextmanager
def contact_log(settings: Settings) -> Iterator[ContactLog]:
    """The contacts of a deployment.

    Raises:
        ServerUnavailable: The broker does not answer, or there is no such topic.
    """
    book = ContactBook(settings.sync_lifetime)
    with followed_topic(settings, Topic.CONTACTS, book.take_record) as follower:
        yield ContactLog(follower, book)
