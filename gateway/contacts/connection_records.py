"""Records which people look at a live connection to this gateway: see `schemas.live_people`.

A live connection is active until its client says that the person does not look at it. The push
stage sends no notification to a person with an active connection. A record is repeated
before it expires. A lost record, or a late one, costs a superfluous notification, so no connection
waits for its record.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final, Protocol

from backends.processes.minute_log import MinuteLog
from schemas.errors import ServerUnavailable
from schemas.live_people import LIVE_RENEWAL

log = logging.getLogger(__name__)

TICK_SECONDS: Final = 1.0
"""Interval of the search for records to repeat."""

AT_ONCE: Final = 200
"""Records between two steps of the event loop; some 2 ms."""


class LiveActivity(Protocol):
    """Whether the person looks at one live connection. Raises nothing."""

    def note(self, *, is_active: bool) -> None:
        """Notes what the client says. The same state again changes nothing."""


class LiveConnections(Protocol):
    """Records live connections. Raises nothing."""

    def connected(self, user: str) -> AbstractContextManager[LiveActivity]:
        """The context of one live connection of a person, which begins as active."""
        ...


class NoActivity:
    """`LiveActivity` that nobody records."""

    def note(self, *, is_active: bool) -> None:
        """See `LiveActivity`."""


class NoConnectionRecords:
    """For a gateway without a log."""

    def connected(self, user: str) -> AbstractContextManager[LiveActivity]:
        """See `LiveConnections`."""
        del user
        return nullcontext(NoActivity())


class LiveAppender(Protocol):
    """Appends records of live people to the log."""

    def append(self, user: str, *, is_live: bool) -> asyncio.Future[None]:
        """A future that is done when the record is durable; it may fail with any error.

        Raises:
            ServerUnavailable: The queue is full.
        """


class ConnectionRecords:
    """`LiveConnections` that are appended at the first active one, then in each interval.

    Args:
        appender: Appends the records.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self, appender: LiveAppender, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._appender = appender
        self._clock = clock
        self._active: Counter[str] = Counter()
        """The number of active connections of each person."""
        self._written: OrderedDict[str, float] = OrderedDict()
        """The time of the last record of each person, in the order of these times."""
        self._trouble = MinuteLog(log)

    @contextmanager
    def connected(self, user: str) -> Iterator[LiveActivity]:
        """See `LiveConnections`."""
        connection = _Connection(self, user)
        connection.note(is_active=True)
        try:
            yield connection
        finally:
            connection.note(is_active=False)

    def count(self, user: str, change: int) -> None:
        """Changes the number of active connections of a person by 1 or -1."""
        self._active[user] += change
        if not self._active[user]:
            del self._active[user]
            self._written.pop(user, None)
            self._append(user, is_live=False)
        elif change > 0 and self._active[user] == 1:
            self._write(user)

    async def run(self) -> None:
        """Repeats records before they expire, until cancelled."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            await self.renew()

    async def renew(self) -> None:
        """Repeats the records that are due."""
        due = self._clock() - LIVE_RENEWAL.total_seconds()
        count = 0
        while self._written:
            user, at = next(iter(self._written.items()))
            if at > due:
                return
            self._write(user)
            count += 1
            if count % AT_ONCE == 0:
                await asyncio.sleep(0)

    def _write(self, user: str) -> None:
        self._written[user] = self._clock()
        self._written.move_to_end(user)
        self._append(user, is_live=True)

    def _append(self, user: str, *, is_live: bool) -> None:
        try:
            appending = self._appender.append(user, is_live=is_live)
        except ServerUnavailable as error:
            self._trouble.warning("live connections are not recorded: %s", error)
        else:
            appending.add_done_callback(self._ended)

    def _ended(self, appending: asyncio.Future[None]) -> None:
        error = None if appending.cancelled() else appending.exception()
        if error is not None:
            self._trouble.warning("live connections are not recorded: %s", type(error).__name__)
        elif self._trouble.end_condition():
            log.info("live connections are recorded again")


class _Connection:
    """`LiveActivity` of one connection."""

    def __init__(self, records: ConnectionRecords, user: str) -> None:
        self._records = records
        self._user = user
        self._is_active = False

    def note(self, *, is_active: bool) -> None:
        """See `LiveActivity`."""
        if is_active != self._is_active:
            self._is_active = is_active
            self._records.count(self._user, 1 if is_active else -1)
