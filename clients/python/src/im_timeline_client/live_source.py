"""A sync timeline, pushed over a live connection; polled while there is no connection.

This changes the latency only, not what a reader receives in the end:

- **No loss when a connection breaks.** Each connection starts after the reader's cursor, as a poll
  does, so records that were pushed but not applied are pushed again. If a batch was taken and the
  cursor did not follow, the connection is replaced.
- **Heads have no cursor.** The first batch of a connection reports only that the push begins, so
  that the reader reads all heads then. Later heads are pushed.
- **A connection decides nothing.** A live connection reports one error only: expired records. Any
  other problem, such as a bad token, is reported by the next poll.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from typing import Final, Generic, Protocol, TypeVar

import aiohttp

from im_timeline_client.backoff import pauses
from im_timeline_client.errors import GatewayUnavailable
from im_timeline_client.live_link import GatewayEnds, LinkOver, LiveLink

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 20.0
"""Bounds of the backoff between two attempts to connect."""

LASTING_SECONDS: Final = 30.0
"""A connection that lasted this long was healthy: the next attempt starts without backoff."""

SPREAD_SECONDS: Final = 1.0
"""Maximum random delay before reconnecting: a gateway that is killed disconnects many readers."""

ELSEWHERE_SECONDS: Final = 0.2
"""The same after an orderly end of a gateway, which disconnects its readers one by one."""

MessageT = TypeVar("MessageT")
BatchT = TypeVar("BatchT")
BatchT_co = TypeVar("BatchT_co", covariant=True)


class LiveTimeline(Protocol[MessageT, BatchT_co]):
    """How to poll a sync timeline, how to connect to it, and what its messages mean."""

    async def poll(self, cursor: int, wait: float) -> BatchT_co:
        """Return one page above the cursor; wait up to ``wait`` seconds for the first record."""
        ...

    async def open(self, cursor: int) -> aiohttp.ClientWebSocketResponse:
        """Open a connection that pushes everything above the cursor.

        Raises:
            GatewayUnavailable: The connection failed.
        """
        ...

    def decode(self, text: str) -> MessageT:
        """Return a message of the connection.

        Raises:
            ValueError: The text is not a known message.
        """
        ...

    def is_begin(self, message: MessageT) -> bool:
        """Return whether the message is the first of a connection."""
        ...

    def cursor_after(self, message: MessageT) -> int | None:
        """Return the cursor of a reader that has applied the message; None: no change."""
        ...

    def begun(self, cursor: int) -> BatchT_co:
        """Return the batch without records with which a connection begins."""
        ...

    def batch(self, message: MessageT | None, before: int, cursor: int) -> BatchT_co:
        """Return the batch of a message; None: nothing arrived.

        Args:
            message: The message.
            before: The message has all records above this cursor.
            cursor: The reader's cursor.

        Raises:
            Exception: The timeline's error for expired records.
        """
        ...


class LiveSource(Generic[MessageT, BatchT]):
    """The batches of one reader.

    After the first call of `after`, the caller has to call `aclose` at the end.

    Args:
        timeline: See `LiveTimeline`.
        cursor: The cursor of the reader.
    """

    def __init__(self, timeline: LiveTimeline[MessageT, BatchT], cursor: int) -> None:
        self._timeline = timeline
        self._cursor = cursor
        self._link: LiveLink[MessageT] | None = None
        self._holder: asyncio.Task[None] | None = None
        self._is_active = True

    async def after(self, cursor: int, wait: float = 0.0) -> BatchT:
        """Return the next pushed batch, or a polled page while there is no connection.

        Args:
            cursor: The reader has applied everything up to here.
            wait: Seconds to wait if there is nothing now.

        Raises:
            Exception: The errors of `LiveTimeline.poll` and `LiveTimeline.batch`.
        """
        self._cursor = cursor
        if self._holder is None:
            self._holder = asyncio.create_task(self._hold_connection())
        elif self._holder.done():
            self._holder.result()
        link = self._link
        if link is not None and link.cursor > cursor:
            self._link = None
            await link.close()
        if self._link is None:
            return await self._timeline.poll(cursor, wait)
        try:
            return await self._next_batch(self._link, cursor, wait)
        except LinkOver:
            self._link = None
            return await self._timeline.poll(cursor, 0.0)

    async def set_active(self, *, is_active: bool) -> None:
        """Tell the gateway, now and at each later connection, whether the person looks at it."""
        if is_active != self._is_active:
            self._is_active = is_active
            if self._link is not None:
                await self._link.tell(_presence(is_active=is_active))

    async def aclose(self) -> None:
        """Close the connection. May be called again."""
        holder, self._holder, self._link = self._holder, None, None
        if holder is not None:
            holder.cancel()
            await asyncio.gather(holder, return_exceptions=True)

    async def _next_batch(self, link: LiveLink[MessageT], cursor: int, wait: float) -> BatchT:
        if link.is_new:
            link.is_new = False
            return self._timeline.begun(cursor)
        before = link.cursor
        message = await link.next(wait)
        after = None if message is None else self._timeline.cursor_after(message)
        if after is not None:
            link.cursor = after
        return self._timeline.batch(message, before, cursor)

    async def _hold_connection(self) -> None:
        """Hold one connection after the other, with a growing backoff between failures."""
        between = pauses(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        while True:
            begun_at = time.monotonic()
            why = await self._run_connection()
            log.info("%s", why)
            is_sent_elsewhere = isinstance(why, GatewayEnds)
            if is_sent_elsewhere or time.monotonic() - begun_at >= LASTING_SECONDS:
                between = pauses(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
            spread = ELSEWHERE_SECONDS if is_sent_elsewhere else SPREAD_SECONDS
            pause = 0.0 if is_sent_elsewhere else next(between)
            await asyncio.sleep(pause + random.uniform(0, spread))  # noqa: S311 - no secret

    async def _run_connection(self) -> GatewayUnavailable:
        """Open one connection, and read it until it ends.

        Returns:
            The reason of the end; `GatewayEnds` only if the connection had begun, because a
            gateway that sends every client away is retried with backoff.
        """
        cursor = self._cursor
        try:
            socket = await self._timeline.open(cursor)
        except GatewayUnavailable as failure:
            return failure
        link = LiveLink(socket, self._timeline.decode, cursor)
        try:
            await self._begin(link)
            await link.listen()
        except GatewayUnavailable as why:
            return why
        finally:
            await link.close()

    async def _begin(self, link: LiveLink[MessageT]) -> None:
        """Wait for the first message; from then on, `after` takes the messages.

        Raises:
            GatewayUnavailable: The connection does not begin.
        """
        try:
            first = await link.begin()
        except GatewayEnds as ends:
            raise GatewayUnavailable(str(ends)) from None
        if not self._timeline.is_begin(first):
            raise GatewayUnavailable("the live connection begins with something else")
        self._link = link
        if not self._is_active:  # a connection begins as active
            await link.tell(_presence(is_active=False))


def _presence(*, is_active: bool) -> str:
    return json.dumps({"kind": "presence", "active": is_active})
