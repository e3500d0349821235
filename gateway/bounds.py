"""Bounds in time and number for one peer, for one person and for the whole gateway.

`docs/limits.md` lists the bounds. A constant is read at each use, so that a test can change it.

Requests that wait for new records have their own bounds in `gateway.log.wake_ups`, because they
would take the places of all other requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

from schemas.errors import ServerUnavailable

MAX_CONNECTIONS: int = 8_192
"""Open connections of one gateway. A further connection replaces an idle one."""

MAX_CONNECTIONS_OF_ONE: int = 128
"""Open connections whose last request was of one person: 16 that wait for new records, 32 with a
request in flight, and some that wait for a place."""

MAX_REQUESTS: int = 256
"""Requests in flight in one gateway. Requests whose body is incomplete do not count."""

MAX_REQUESTS_OF_ONE: int = 32
"""Requests in flight of one person, including those with an incomplete body. Further ones wait."""

MAX_LINE_BYTES: Final = 8_190
"""Maximum size of the path with its query, and of the value of each header."""

MAX_HEADERS: Final = 64
MAX_HEAD_BYTES: int = 65_536
"""Maximum size of an incomplete request line and headers together."""

MAX_PIPELINED_BYTES: int = 65_536
"""Maximum size of pipelined requests behind the one in flight, on one connection."""

MAX_BODY_BYTES: int = 65_536

MAX_UNSENT_BYTES: Final = 262_144
"""Size of a connection's kernel send buffer. When it is full, the gateway notices a slow peer."""

HEAD_SECONDS: float = 10.0
"""Timeout from the first byte of a request, or from the connection, to the end of its headers."""

BODY_SECONDS: float = 10.0
"""Timeout from the end of the headers to the end of the body."""

PLACE_SECONDS: float = 5.0
"""Maximum wait of a request for a place of its person."""

REQUEST_SECONDS: float = 10.0
"""Timeout from the end of the body to the response."""

WRITE_SECONDS: float = 30.0
"""Timeout for a peer to read a full buffer. A page has at most a megabyte."""

IDLE_SECONDS: Final = 75.0
"""Timeout from a response to the next request on the connection. Proxies reuse connections for a
minute."""

LINGER_SECONDS: Final = 1.0
"""Time in which unwanted input is dropped before the connection closes, so that the peer can read
the response."""

CLOSE_SECONDS: float = 2.0
"""Timeout from the decision to close to the end of the connection, even if the peer reads nothing.
"""

SWEEP_SECONDS: Final = 0.5
"""Interval between two checks of all connections. Their timeouts are exceeded by at most this."""

AnswerT = TypeVar("AnswerT")


async def within(seconds: float, answer: Awaitable[AnswerT]) -> AnswerT:
    """Awaits an answer with a timeout in seconds.

    Raises:
        ServerUnavailable: The answer did not arrive within the timeout.
    """
    try:
        async with asyncio.timeout(seconds):
            return await answer
    except TimeoutError:
        raise ServerUnavailable(f"no answer within {seconds:.0f} s") from None
