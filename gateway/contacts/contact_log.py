"""Records contacts of people, at most once in each contact interval.

The sync sink writes no rows for recipients without a contact, see `schemas.lifetime`. A contact is
an action of a device that follows a sync timeline: it registers, reads a page, reports its cursor
or has a live connection.

A contact is appended to the log before the request is answered, so that the sink soon writes rows
again. A request waits for the append within a bound, and never fails because of the append. The
next request repeats a contact that could not be appended.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

from cachetools import FIFOCache

from backends.processes.minute_log import MinuteLog
from schemas.errors import ServerUnavailable

log = logging.getLogger(__name__)

CONTACT_WAIT_SECONDS: Final = 1.0
"""Maximum wait of a request until its contact is appended."""

AGAIN_SECONDS: Final = 10.0
"""Time after which a live connection repeats a failed contact."""

MAX_REMEMBERED_PEOPLE: Final = 200_000
"""Number of people whose last contact is remembered: some 40 MB. Contacts of others are recorded
more often."""


class Contacts(Protocol):
    """Records contacts. Raises nothing."""

    async def note(self, user: str) -> None:
        """Records a contact of a person now."""

    async def keep(self, user: str) -> None:
        """Records a contact in each interval, until cancelled."""


class NoContacts:
    """For a deployment that does not use contacts."""

    async def note(self, user: str) -> None:
        """See `Contacts`."""

    async def keep(self, user: str) -> None:
        """See `Contacts`."""
        del user
        await asyncio.get_running_loop().create_future()


class ContactAppender(Protocol):
    """Appends contacts to the log."""

    def append(self, user: str) -> asyncio.Future[None]:
        """A future that is done when the contact is durable; it may fail with any error.

        Raises:
            ServerUnavailable: The queue of contacts is full.
        """


class NotedContacts:
    """`Contacts` that are appended once in each interval.

    Args:
        appender: Appends the contacts.
        interval: The interval in seconds.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        appender: ContactAppender,
        interval: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._appender = appender
        self._interval = interval
        self._clock = clock
        self._noted: FIFOCache[str, float] = FIFOCache(MAX_REMEMBERED_PEOPLE)
        self._under_way: dict[str, asyncio.Future[None]] = {}
        self._is_away = False
        self._trouble = MinuteLog(log)

    async def note(self, user: str) -> None:
        """See `Contacts`. Does not wait if the last append of any contact failed."""
        if self._seconds_left(user) > 0:
            return
        appending = self._under_way.get(user) or self._begin(user)
        if appending is None or self._is_away:
            return
        done, _ = await asyncio.wait([appending], timeout=CONTACT_WAIT_SECONDS)
        if not done:
            self._fail("no response in time")

    async def keep(self, user: str) -> None:
        """See `Contacts`."""
        while True:
            await self.note(user)
            left = self._seconds_left(user)
            await asyncio.sleep(left if left > 0 else min(AGAIN_SECONDS, self._interval))

    def _seconds_left(self, user: str) -> float:
        """Seconds until the next contact of a person is due."""
        noted = self._noted.get(user)
        return 0.0 if noted is None else noted + self._interval - self._clock()

    def _begin(self, user: str) -> asyncio.Future[None] | None:
        try:
            appending = self._appender.append(user)
        except ServerUnavailable as error:
            self._fail(str(error))
            return None
        begun = self._clock()
        self._under_way[user] = appending
        appending.add_done_callback(lambda done: self._ended(user, begun, done))
        return appending

    def _ended(self, user: str, begun: float, appending: asyncio.Future[None]) -> None:
        del self._under_way[user]
        if appending.cancelled():
            return
        error = appending.exception()
        if error is not None:
            self._fail(type(error).__name__)
            return
        self._is_away = False
        if self._trouble.end_condition():
            log.info("contacts are recorded again")
        self._noted[user] = begun

    def _fail(self, why: str) -> None:
        self._is_away = True
        self._trouble.warning("contacts are not recorded: %s", why)
