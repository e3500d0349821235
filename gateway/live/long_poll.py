"""Long polling: a read of the caller's sync timeline that waits for new records."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gateway.errors import TokenExpired
from gateway.live.pace import Pace
from gateway.log.wake_ups import Listener
from gateway.reads.sync_page import SyncRead
from schemas.http.answers import SyncPage
from schemas.number_types import SyncSeqId


async def await_page(
    listener: Listener,
    read: Callable[[], Awaitable[SyncRead]],
    after: SyncSeqId,
    seconds: float,
    lasts: float,
) -> SyncPage:
    """Returns a page as soon as there are records after the cursor; an empty page at the timeout.

    No read begins after the caller's token has expired. The result of a read that began before is
    returned, as without a wait.

    Args:
        listener: Registered before this call, so that no wake-up is lost.
        read: Reads the store after the cursor. An error of it ends the wait.
        after: The cursor.
        seconds: The timeout.
        lasts: Seconds until the caller's token expires.

    Raises:
        TokenExpired: The token has expired.
    """
    now = asyncio.get_running_loop().time
    deadline, expiry = now() + seconds, now() + lasts
    pace = Pace()
    while True:
        page, awaited = await read()
        listener.announce(awaited)
        left = deadline - now()
        if page.records or page.more or page.next > after or left <= 0 or listener.is_over:
            return page
        left = min(left, expiry - now())
        if listener.known > after:
            await listener.pause(min(pace.until_retry(), left))
        else:
            await listener.wait(min(pace.until_read(is_live=listener.is_live), left))
        if now() >= expiry:
            raise TokenExpired
