"""The sync timeline and the heads of pulled conversations, pushed over a live connection.

While a live connection can be opened, the device uses it; otherwise the device polls the gateway.
This changes the latency only, not the final content of the device:

- **No loss when a connection breaks.** Each connection starts after the device's cursor, as a
  poll does, so records that were pushed but not applied are pushed again. If a batch was taken
  and the cursor did not follow (the disk refused the write), the connection is replaced.
- **Heads have no cursor.** While the gateway is polled, and in the first batch of each
  connection, ``heads`` is None: heads are not pushed yet. A device that queries all heads after
  this batch misses none, because later heads are pushed.
- **A connection decides nothing.** A live connection reports one error only: expired records. Any
  other problem, such as a bad token, is reported by the next poll.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Final

import aiohttp
import stamina

from consumers.device.gateway_timeline import SYNC_PAGE, GatewayTimelines, arrived
from consumers.device.knowledge import BEFORE_ALL, SyncBatch
from consumers.device.live_link import GatewayEnds, LinkOver, LiveLink, LiveMessage
from consumers.gateway_client import GatewayClient
from schemas.errors import TransientFailure, Trimmed
from schemas.http.answers import ProblemDetails
from schemas.http.live_messages import LiveHead, LiveProblem, LiveRecords
from schemas.http.queries import LiveQuery
from schemas.number_types import SyncSeqId

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 20.0
"""Bounds of the backoff between two attempts to connect."""

LASTING_SECONDS: Final = 30.0
"""A connection that lasted this long was healthy: the next attempt starts without backoff."""

SPREAD_SECONDS: Final = 1.0
"""Maximum random delay before reconnecting: a gateway that is killed disconnects many devices."""

ELSEWHERE_SECONDS: Final = 0.2
"""The same after an orderly end of a gateway, which disconnects its devices one by one."""


class LiveTimelines:
    """`SyncSource` of one person over a live connection. Arguments: see `GatewayTimelines`.

    After the first call of `after`, the caller has to call `aclose` at the end.
    """

    def __init__(
        self, address: str, token: Callable[[], str], http: aiohttp.ClientSession
    ) -> None:
        self._gateway = GatewayClient(address, token, http)
        self._polling = GatewayTimelines(address, token, http)
        self._cursor = BEFORE_ALL
        self._link: LiveLink | None = None
        self._holder: asyncio.Task[None] | None = None

    async def after(self, cursor: SyncSeqId, wait: float = 0.0) -> SyncBatch:
        """See `SyncSource`: the next pushed batch, or a polled page without a connection."""
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
            return await self._polling.after(cursor, wait)
        try:
            return await _next_batch(self._link, cursor, wait)
        except LinkOver:
            self._link = None
            return await self._polling.after(cursor)

    async def aclose(self) -> None:
        """Close the connection. May be called again."""
        holder, self._holder, self._link = self._holder, None, None
        if holder is not None:
            holder.cancel()
            await asyncio.gather(holder, return_exceptions=True)

    async def _hold_connection(self) -> None:
        """Hold one connection after the other, with a growing backoff between failures."""
        spread = SPREAD_SECONDS
        while True:
            async for attempt in stamina.retry_context(
                TransientFailure,
                attempts=None,
                timeout=None,
                wait_initial=FIRST_PAUSE_SECONDS,
                wait_max=LONGEST_PAUSE_SECONDS,
                wait_jitter=SPREAD_SECONDS,
            ):
                with attempt:
                    spread = await self._run_connection()
            await asyncio.sleep(random.uniform(0, spread))  # noqa: S311 - no secret

    async def _run_connection(self) -> float:
        """Open one connection and read it until it ends.

        The end of a long one is no failure, and neither is the orderly end of a gateway.

        Returns:
            The maximum random delay before the next connection, in seconds.

        Raises:
            TransientFailure: The connection failed, or ended within `LASTING_SECONDS`.
        """
        cursor = self._cursor
        query = LiveQuery(after=cursor, limit=SYNC_PAGE)
        link = LiveLink(await self._gateway.live(query), cursor)
        begun_at = time.monotonic()
        has_begun = is_sent_elsewhere = False
        try:
            await link.begin()
            has_begun = True
            self._link = link
            await link.listen()
        except TransientFailure as why:
            is_sent_elsewhere = has_begun and isinstance(why, GatewayEnds)
            if not is_sent_elsewhere and time.monotonic() - begun_at < LASTING_SECONDS:
                raise
            log.info("%s", why)
        finally:
            await link.close()
        return ELSEWHERE_SECONDS if is_sent_elsewhere else SPREAD_SECONDS


async def _next_batch(link: LiveLink, cursor: SyncSeqId, wait: float) -> SyncBatch:
    """Return the next batch of a connection; the first batch only reports the beginning.

    Raises:
        LinkOver: The connection has ended.
        Trimmed: The records after the cursor have expired.
    """
    if link.is_new:
        link.is_new = False
        return SyncBatch(None, (), cursor, more=False)
    before = link.cursor
    message: LiveMessage | None = await link.next(wait)
    match message:
        case LiveRecords(records=items, next=end, more=more):
            return SyncBatch(before, list(map(arrived, items)), end, more, heads={})
        case LiveHead(conv_id=conv_id, seq=seq):
            return SyncBatch(None, (), cursor, more=False, heads={conv_id: seq})
        case LiveProblem(problem=ProblemDetails(cursor=int(given), oldest=int(oldest))) if (
            oldest - 1 > cursor
        ):
            raise Trimmed(given, oldest)
        case _:
            return SyncBatch(None, (), cursor, more=False, heads={})
