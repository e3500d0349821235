"""`GET /v1/live`: a WebSocket (RFC 6455) over which a session sends records and heads.

The close code gives the reason:

| code | reason |
|---|---|
| 1008 | the client has sent a frame of another form, or too many pings |
| 1011 | a defect of the gateway |
| 1012 | the gateway ends: connect again at once, the balancer chooses another gateway |
| 4401 | the token has expired |
| 4408 | the client does not read fast enough |
| 4410 | trimmed: the problem was sent before, as a message of kind ``problem`` |

A client sends requests and its presence (`gateway.http.live_requests`), and control frames: pings,
pongs and a close. `gateway.http.frames` checks the frames before they are parsed.

In all cases `serve_socket` returns when the connection is closed or aborted, so that the place of
a client becomes free only when its memory is released.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import traceback
from collections.abc import Coroutine
from typing import Any, Final, NamedTuple

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web
from msgspec import Struct

from backends.processes.request_context import current_request_id
from gateway import bounds
from gateway.http.connection import Connection, connection_of
from gateway.http.frames import MAX_TEXT_BYTES, PROTOCOL
from gateway.http.live_requests import LiveRequests, NotARequest
from gateway.http.problems import problem_of
from gateway.live.live_session import LiveSession
from schemas.errors import ImError, Trimmed
from schemas.http.live_messages import LiveProblem

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS: Final = 25.0
"""Interval of pings; the timeout of a pong is half of it. Proxies close connections silent
for a minute."""

SLOW_SECONDS: Final = 15.0
"""Timeout of a send to a client that does not read. A page of a megabyte may be in flight."""


class _Slow(ImError):
    """The client does not read fast enough. Private to this module."""


class _End(NamedTuple):
    code: int
    reason: str


_FORBIDDEN: Final = _End(WSCloseCode.POLICY_VIOLATION, "unknown frame, or too many pings")
_DEFECT: Final = _End(WSCloseCode.INTERNAL_ERROR, "internal")
_ENDING: Final = _End(WSCloseCode.SERVICE_RESTART, "the gateway ends")
_EXPIRED: Final = _End(4401, "token expired")
_SLOW: Final = _End(4408, "slow")
_PROBLEM: Final = 4_000
"""Added to a problem's HTTP status to make a close code: 410 becomes 4410."""


def new_socket() -> web.WebSocketResponse:
    """An unprepared socket."""
    return web.WebSocketResponse(
        timeout=bounds.CLOSE_SECONDS,
        heartbeat=HEARTBEAT_SECONDS,
        protocols=(PROTOCOL,),
        compress=False,
        max_msg_size=MAX_TEXT_BYTES,
    )


async def send_answer(socket: web.WebSocketResponse, answer: Struct) -> None:
    """Sends one answer.

    Raises:
        _Slow: The client has not read earlier messages within the timeout.
        ConnectionError: The client is gone.
    """
    text = msgspec.json.encode(answer)
    del answer  # a slow client holds the text only
    try:
        async with asyncio.timeout(SLOW_SECONDS):
            await socket.send_frame(text, WSMsgType.TEXT)  # avoids a copy
    except TimeoutError:
        raise _Slow from None


class LiveParts(NamedTuple):
    """The parts of a live connection, which run in parallel.

    ``session`` sends the records and heads, ``requests`` answers the requests of the client,
    ``beside`` is a task that runs as long as the connection is open.
    """

    session: LiveSession
    requests: LiveRequests
    beside: Coroutine[Any, Any, None]


async def serve_socket(
    request: web.Request, socket: web.WebSocketResponse, parts: LiveParts, expires: float
) -> None:
    """Serves a prepared socket to its end.

    Args:
        request: The request of the socket.
        socket: The prepared socket.
        parts: The parts of the connection.
        expires: Expiry of the token, in seconds since 1970.
    """
    connection = connection_of(request)
    reading = asyncio.create_task(parts.requests.run())
    telling = asyncio.create_task(parts.session.run())
    tasks: set[asyncio.Future[Any]] = {reading, telling, asyncio.create_task(parts.beside)}
    if connection is not None:
        tasks.add(connection.violated)
    try:
        await asyncio.wait(
            tasks, timeout=expires - time.time(), return_when=asyncio.FIRST_COMPLETED
        )
        end = await _ending(socket, reading, telling, connection)
        if end is _ENDING:
            await parts.requests.finish()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    try:
        if end is not None:
            await _close(socket, end)
    finally:
        if connection is not None:
            connection.force_close()
            await connection.ended(bounds.CLOSE_SECONDS)


async def _ending(
    socket: web.WebSocketResponse,
    reading: asyncio.Task[None],
    telling: asyncio.Task[None],
    connection: Connection | None,
) -> _End | None:
    """The reason of the end; None if the client went away."""
    if connection is not None and connection.violated.done():
        return _FORBIDDEN
    if not telling.done():
        if not reading.done():
            return _EXPIRED
        return _FORBIDDEN if isinstance(reading.exception(), NotARequest) else None
    return await _ending_of(socket, telling.exception())


async def _ending_of(socket: web.WebSocketResponse, error: BaseException | None) -> _End | None:
    match error:
        case None:
            return _ENDING
        case ConnectionError():
            return None
        case _Slow():
            return _SLOW
        case Trimmed():
            problem = problem_of(error)
            details = problem.details(current_request_id.get() or "")
            with contextlib.suppress(_Slow, ConnectionError):
                await send_answer(socket, LiveProblem(problem=details))
            return _End(_PROBLEM + problem.status, problem.kind)
    where = "".join(traceback.format_tb(error.__traceback__))  # not the error's text
    log.error("live: %s at\n%s", type(error).__name__, where)
    return _DEFECT


async def _close(socket: web.WebSocketResponse, end: _End) -> None:
    """Sends the close code, and waits for the client's close frame within a bound."""
    log.info("live connection closed: %d %s", end.code, end.reason)
    try:
        async with asyncio.timeout(bounds.CLOSE_SECONDS):
            await socket.close(code=end.code, message=end.reason.encode())
    except (TimeoutError, ConnectionError):
        pass
    except asyncio.CancelledError:
        # aiohttp also raises it after an interrupted earlier write, which is no cancellation.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
