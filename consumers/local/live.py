"""The sync timeline as it comes, and heads of pulled conversations, over a live connection.

A live connection is kept as long as there is one to be had; while there is none, the gateway is
asked. So it makes no difference to what a device has in the end, only to when:

- **Nothing is lost when it breaks.** Each new one begins behind the cursor of the device, as a
  question does: what was told and not applied is told again. If something was taken and the cursor
  has not followed (the disk did not take it), the connection is given up for a new one.
- **Heads have no cursor.** So a batch says that nobody tells them (``heads`` is None) while the
  gateway is asked, and once more when a connection begins: whoever asks for all of them after
  that, and is told from then on, misses none.
- **It decides nothing.** Whatever is wrong, with the token for example, a question is answered
  with it. But for what has expired, no error comes from a live connection.
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

from consumers.local.gateway import SYNC_PAGE, GatewayTimelines
from consumers.local.http import GatewayHttp
from consumers.local.knowledge import BEFORE_ALL, SyncBatch
from consumers.local.live_link import Gone, Head, LinkOver, LiveLink, Records, Told
from schemas.errors import TransientFailure, Trimmed

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 20.0
"""Between two attempts to connect."""

LASTING_SECONDS: Final = 30.0
"""A connection that has lasted so long was a good one: the next is tried soon."""

SPREAD_SECONDS: Final = 1.0
"""So much later at most, at random: a gateway that ends has many devices."""


class LiveTimelines:
    """`SyncSource` of one person, over a live connection. Arguments as of `GatewayTimelines`.

    Whoever has called `after` calls `aclose` in the end.
    """

    def __init__(
        self, address: str, token: Callable[[], str], http: aiohttp.ClientSession
    ) -> None:
        self._gateway = GatewayHttp(address, token, http)
        self._asked = GatewayTimelines(address, token, http)
        self._cursor = BEFORE_ALL
        self._link: LiveLink | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def after(self, cursor: int, wait: float = 0.0) -> SyncBatch:
        """As of `SyncSource`: what is told next, or a page that is asked for."""
        self._cursor = cursor
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep())
        elif self._keeping.done():
            self._keeping.result()
        link = self._link
        if link is not None and link.cursor > cursor:
            self._link = None
            await link.close()
        if self._link is None:
            return await self._asked.after(cursor, wait)
        try:
            return await _told_by(self._link, cursor, wait)
        except LinkOver:
            self._link = None
            return await self._asked.after(cursor)

    async def aclose(self) -> None:
        """Ends the connection. May be called again."""
        keeping, self._keeping, self._link = self._keeping, None, None
        if keeping is not None:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def _keep(self) -> None:
        """One connection after the other; the longer there is none, the longer a pause."""
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
                    await self._be_told()
            await asyncio.sleep(random.uniform(0, SPREAD_SECONDS))  # noqa: S311 - no secret

    async def _be_told(self) -> None:
        """One connection, to its end; of one that has lasted, that is no failure.

        Raises:
            TransientFailure: There is none, or it did not last.
        """
        cursor = self._cursor
        asked = {"after": cursor, "limit": SYNC_PAGE}
        link = LiveLink(await self._gateway.connect("/v1/live", asked), cursor)
        begun_at = time.monotonic()
        try:
            await link.begin()
            self._link = link
            await link.listen()
        except TransientFailure as why:
            if time.monotonic() - begun_at < LASTING_SECONDS:
                raise
            log.info("%s", why)
        finally:
            await link.close()


async def _told_by(link: LiveLink, cursor: int, wait: float) -> SyncBatch:
    """The next batch of a connection; its first says that it begins.

    Raises:
        LinkOver: There is none any more.
        Trimmed: What follows the cursor is not kept any more.
    """
    if link.is_new:
        link.is_new = False
        return SyncBatch(None, (), cursor, more=False)
    before = link.cursor
    told: Told | None = await link.next(wait)
    match told:
        case Records(records=lines, next=end, more=more):
            return SyncBatch(before, [line.arrived() for line in lines], end, more, heads={})
        case Head(conv_id=conv_id, seq=seq):
            return SyncBatch(None, (), cursor, more=False, heads={conv_id: seq})
        case Gone(problem=kept) if kept.oldest - 1 > cursor:
            raise Trimmed(kept.cursor, kept.oldest)
        case _:
            return SyncBatch(None, (), cursor, more=False, heads={})
