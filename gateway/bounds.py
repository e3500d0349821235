"""The bounds of what one peer, one person and all of them may hold, in time and in number.

`docs/gateway.md` lists them. A constant is read when it is used, so that a test can shorten it.

Requests that wait for news have bounds of their own, in `gateway.wake_ups`: they would fill the
places of the requests that do not wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

from schemas.errors import ServerUnavailable

MAX_CONNECTIONS: int = 8_192
"""Open connections of one gateway. Another one takes the place of an idle one."""

MAX_CONNECTIONS_OF_ONE: int = 128
"""Open connections whose last request was of one person: 16 that wait for
news, 32 in hand, and some that wait for their turn."""

MAX_REQUESTS: int = 256
"""Requests in hand of one gateway. Bodies that are still arriving do not count."""

MAX_REQUESTS_OF_ONE: int = 32
"""Requests in hand of one person. Bodies that are still arriving count. Further requests wait."""

MAX_LINE_BYTES: Final = 8_190
"""The request line, and each header."""

MAX_HEADERS: Final = 64
MAX_HEAD_BYTES: int = 65_536
"""The request line and all headers, while they are incomplete."""

MAX_PIPELINED_BYTES: int = 65_536
"""Requests that wait behind the one in hand, on one connection."""

MAX_BODY_BYTES: int = 65_536

MAX_UNSENT_BYTES: Final = 262_144
"""What the kernel buffers for one connection. Beyond it the gateway notices a slow peer."""

HEAD_SECONDS: float = 10.0
"""From the first byte of a request, or from the connection, to the end of its headers."""

BODY_SECONDS: float = 10.0
"""From the end of the headers to the end of the body."""

PLACE_SECONDS: float = 5.0
"""How long a request may wait for a place of its person."""

REQUEST_SECONDS: float = 10.0
"""From the end of the body to the answer."""

WRITE_SECONDS: float = 30.0
"""How long a peer may take to read a full buffer. A page has at most a megabyte."""

IDLE_SECONDS: Final = 75.0
"""From an answer to the next request on its connection. Proxies reuse connections for a minute."""

LINGER_SECONDS: Final = 1.0
"""How long unwanted input is dropped before the connection closes, so that the peer can read the
answer."""

CLOSE_SECONDS: float = 2.0
"""From the decision to close to the end of the connection, read by the peer or not."""

SWEEP_SECONDS: Final = 0.5
"""Between two looks at all connections. The bounds on connections are exceeded by that much."""

AnswerT = TypeVar("AnswerT")


async def within(seconds: float, answer: Awaitable[AnswerT]) -> AnswerT:
    """An answer that is given up after so many seconds.

    Raises:
        ServerUnavailable: There was none by then.
    """
    try:
        async with asyncio.timeout(seconds):
            return await answer
    except TimeoutError:
        raise ServerUnavailable(f"no answer within {seconds:.0f} s") from None
