"""The caller's sync timeline as soon as there is something in it: a read that may wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from gateway.answers import SyncPage
from gateway.pace import Pace
from gateway.problems import unauthorized
from gateway.sync import SyncRead
from gateway.tokens import EXPIRED
from gateway.wake_ups import Listener

MAX_WAIT_SECONDS: Final = 30
"""Shorter than what proxies on the way usually allow."""


async def await_page(
    listener: Listener,
    read: Callable[[], Awaitable[SyncRead]],
    after: int,
    seconds: float,
    lasts: float,
) -> SyncPage:
    """A page, as soon as there is something behind the cursor; an empty one at the end of time.

    No read begins once the caller's token has expired. What a read brought that had begun before
    is answered, as it is to who does not wait.

    Args:
        listener: Listens since before this call, so that nothing falls between.
        read: Reads the store behind the cursor; whatever it raises ends the wait.
        after: The cursor.
        seconds: How long to wait.
        lasts: For so many seconds the caller's token does.

    Raises:
        Problem: 401, once the token has expired.
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
            await listener.wait(min(pace.until_look(is_live=listener.is_live), left))
        if now() >= expiry:
            raise unauthorized(EXPIRED, token_given=True)
