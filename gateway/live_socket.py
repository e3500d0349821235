"""`GET /v1/live`: a WebSocket (RFC 6455) over which a session is told.

Why one ends, by its code:

| code | reason |
|---|---|
| 1001 | the gateway ends: connect again |
| 1011 | a defect of the gateway |
| 4401 | the token has expired |
| 4408 | the client does not take what it is sent |
| 4410 | trimmed: the problem was sent before, as an answer of kind ``problem`` |

What a client sends has no meaning: cursors are the device's. It is read so that pings are
answered and an end is noticed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import traceback
from typing import Any, Final, NamedTuple

import msgspec
from aiohttp import WSCloseCode, web
from msgspec import Struct

from gateway.answers import LiveProblem
from gateway.live import LiveSession
from gateway.problems import Problem
from schemas.errors import ImError

log = logging.getLogger(__name__)

PROTOCOL: Final = "im-timeline.v1"
"""The subprotocol; whoever names one has to name this."""

HEARTBEAT_SECONDS: Final = 25.0
"""Between two pings; half of that for the answer. Proxies cut what is silent for a minute."""

SLOW_SECONDS: Final = 15.0
"""How long a client may not take what it is sent. A page of a megabyte may be on its way."""

CLOSE_SECONDS: Final = 2.0
"""How long the client's side of a close is waited for; less than a gateway has to end."""

MAX_SENT_BYTES: Final = 1_024
"""Of one message of a client: nothing is expected."""


class _Slow(ImError):
    """The client does not take what it is sent. Does not leave this module."""


class _End(NamedTuple):
    code: int
    reason: str


_GOING_AWAY: Final = _End(WSCloseCode.GOING_AWAY, "the gateway ends")
_DEFECT: Final = _End(WSCloseCode.INTERNAL_ERROR, "internal")
_EXPIRED: Final = _End(4401, "token expired")
_SLOW: Final = _End(4408, "slow")
_PROBLEM: Final = 4_000
"""Added to the status of a problem of three digits, 4xx: 410 makes 4410."""


def new_socket() -> web.WebSocketResponse:
    """A socket, not yet prepared."""
    return web.WebSocketResponse(
        timeout=CLOSE_SECONDS,
        heartbeat=HEARTBEAT_SECONDS,
        protocols=(PROTOCOL,),
        compress=False,
        max_msg_size=MAX_SENT_BYTES,
    )


async def send(socket: web.WebSocketResponse, answer: Struct) -> None:
    """Sends one answer.

    Raises:
        _Slow: The client has not taken what came before it.
        ConnectionError: It is gone.
    """
    try:
        async with asyncio.timeout(SLOW_SECONDS):
            await socket.send_str(msgspec.json.encode(answer).decode())
    except TimeoutError:
        raise _Slow from None


async def serve(
    request: web.Request, socket: web.WebSocketResponse, session: LiveSession, expires: float
) -> None:
    """Serves a prepared socket to its end.

    Args:
        request: Whose socket it is.
        socket: Prepared.
        session: What is told.
        expires: When the token does, in seconds since 1970.
    """
    reading = asyncio.create_task(_read(socket))
    telling = asyncio.create_task(session.run())
    tasks: set[asyncio.Task[Any]] = {reading, telling}
    try:
        await asyncio.wait(
            tasks, timeout=expires - time.time(), return_when=asyncio.FIRST_COMPLETED
        )
        end = await _ending(socket, reading, telling)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if end is not None:
        await _close(request, socket, end)


async def _read(socket: web.WebSocketResponse) -> None:
    async for _ in socket:
        pass


async def _ending(
    socket: web.WebSocketResponse, reading: asyncio.Task[None], telling: asyncio.Task[None]
) -> _End | None:
    """Why it ends; None if it was the client who went away."""
    if not telling.done():
        return None if reading.done() else _EXPIRED
    error = telling.exception()
    if error is None:
        return _GOING_AWAY
    if isinstance(error, ConnectionError):
        return None
    if isinstance(error, _Slow):
        return _SLOW
    if isinstance(error, Problem):
        with contextlib.suppress(_Slow, ConnectionError):
            await send(socket, LiveProblem(problem=error.details("")))
        return _End(_PROBLEM + error.status, error.kind)
    where = "".join(traceback.format_tb(error.__traceback__))  # and not what it said
    log.error("live: %s at\n%s", type(error).__name__, where)
    return _DEFECT


async def _close(request: web.Request, socket: web.WebSocketResponse, end: _End) -> None:
    """Says why, and does not wait for who does not listen."""
    log.info("live connection closed: %d %s", end.code, end.reason)
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(2 * CLOSE_SECONDS):
            await socket.close(code=end.code, message=end.reason.encode())
            return
    if request.transport is not None:
        request.transport.abort()
