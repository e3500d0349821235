"""One connection of a peer: what aiohttp leaves open is bounded here.

aiohttp parses and answers. This module ends the connection

- when the headers of a request take too long or too many bytes,
- when requests pile up behind the one in hand,
- when the peer does not read what it is sent,
- when a WebSocket client sends anything but a few control frames,
- when a close is not completed,

and answers what is no HTTP with a problem document of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any, NoReturn

from aiohttp import web

from gateway import bounds
from gateway.connections import Connections
from gateway.frames import Frames
from gateway.problems import Problem, head_timeout, internal, no_room, not_http, raw_answer

log = logging.getLogger(__name__)

_BAD_REQUEST = 400


class Connection(web.RequestHandler):
    """aiohttp's connection with bounds.

    Args:
        manager: aiohttp's server.
        connections: All connections of the gateway.
        options: aiohttp's.
    """

    def __init__(self, manager: web.Server, connections: Connections, **options: Any) -> None:
        super().__init__(manager, **options)
        self.violated = asyncio.Event()
        """Set when a WebSocket client has sent what it may not; from then on nothing is read."""
        self._connections = connections
        self._wire: asyncio.Transport | None = None
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self._frames: Frames | None = None
        self._is_deaf = False
        self._head_since: float | None = None
        self._head_bytes = self._queued_bytes = 0
        self._stuck_since: float | None = None
        self._closing_since: float | None = None

    @property
    def is_idle(self) -> bool:
        """Whether it waits for the headers of a request."""
        return self._waiter is not None and not self._waiter.done()

    def count_as(self, user: str) -> None:
        """Counts it as a connection of ``user``.

        Raises:
            Problem: 429, if the person has as many as they may, all of them in use.
        """
        self._connections.assign(self, user)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Refuses a connection that there is no room for."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of a stream server
        self._wire = transport
        _bound_kernel(transport)
        if self._connections.admit(self):
            self._head_since = self._loop.time()
            super().connection_made(transport)
        else:
            self._refuse(no_room())

    def connection_lost(self, exc: BaseException | None) -> None:
        """Gives its place back."""
        self._connections.leave(self)
        super().connection_lost(exc)
        self._frames = None
        if not self._lost.done():
            self._lost.set_result(None)

    def set_parser(self, parser: Any, data_received_cb: Callable[[], None] | None = None) -> None:
        """A WebSocket begins: from here on, frames come."""
        self._frames = Frames()
        if not self._frames.allow(self._message_tail):
            self._message_tail = b""
            self._violate()
        super().set_parser(parser, data_received_cb)

    def data_received(self, data: bytes) -> None:
        """Checks what came, and hands it on."""
        if self._is_deaf:
            return
        if self._frames is not None and not self._frames.allow(data):
            self._violate()
            return
        super().data_received(data)
        if self._frames is None:
            self._count(len(data))

    def _violate(self) -> None:
        self._is_deaf = True
        self.violated.set()

    def _count(self, size: int) -> None:
        """Bounds the bytes of requests that are incomplete, or that wait."""
        waiting = len(self._messages)
        if waiting:
            self._head_since, self._head_bytes = None, 0
            self._queued_bytes = self._queued_bytes + size if waiting > 1 else 0
            if self._queued_bytes > bounds.MAX_PIPELINED_BYTES:
                self.abort()
        elif self.is_idle and size:
            self._head_since = self._head_since or self._loop.time()
            self._head_bytes += size
            if self._head_bytes > bounds.MAX_HEAD_BYTES:
                self._refuse(not_http())

    def pause_writing(self) -> None:
        """The peer does not read as fast as it is written to."""
        super().pause_writing()
        self._stuck_since = self._loop.time()

    def resume_writing(self) -> None:
        """The peer has read most of it."""
        super().resume_writing()
        self._stuck_since = None

    def check(self, now: float) -> None:
        """See `gateway.connections.Open`."""
        assert self._wire is not None  # noqa: S101 - it is open
        if self._wire.is_closing():
            self._closing_since = self._closing_since or now
        if _is_over(now, self._closing_since, bounds.CLOSE_SECONDS):
            self.abort()
        elif _is_over(now, self._stuck_since, bounds.WRITE_SECONDS):
            log.info("a peer does not read: connection aborted")
            self.abort()
        elif _is_over(now, self._head_since, bounds.HEAD_SECONDS):
            if self._head_bytes:
                self._refuse(head_timeout())
            else:
                self.drop()

    def drop(self) -> None:
        """See `gateway.connections.Open`."""
        self.force_close()
        self.abort()

    def abort(self) -> None:
        """Ends the connection now. What the peer has not read is thrown away."""
        if self._wire is not None:
            self._wire.abort()

    async def ended(self, seconds: float) -> None:
        """Waits until the connection is closed, and aborts it after ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(self._lost)
        except TimeoutError:
            self.abort()
            await asyncio.shield(self._lost)  # within this round of the event loop or the next

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - quotes the request
    ) -> NoReturn:
        """Answers what is no HTTP, and what got past `gateway.middleware`.

        Raises:
            ConnectionResetError: Always, so that aiohttp adds nothing.
        """
        if not self._force_close:
            log.info("no request: %s", type(exc).__name__)
            if request.writer.output_size > 0:
                self.force_close()
            else:
                self._refuse(not_http() if status == _BAD_REQUEST else internal())
        raise ConnectionResetError

    def _refuse(self, problem: Problem) -> None:
        """Answers, reads no more, and closes when the peer has had time to see the answer."""
        self._is_deaf = self._force_close = True
        self._head_since = None
        if self._waiter is not None:
            self._waiter.cancel()
        wire = self._wire
        if wire is None or wire.is_closing():
            return
        wire.write(raw_answer(problem))
        with contextlib.suppress(OSError):
            wire.write_eof()
        self._loop.call_later(bounds.LINGER_SECONDS, wire.abort)


def connection_of(request: web.BaseRequest) -> Connection | None:
    """The connection of a request; None where another server than `gateway.server` serves."""
    protocol: object = request.protocol
    return protocol if isinstance(protocol, Connection) else None


def _is_over(now: float, since: float | None, seconds: float) -> bool:
    return since is not None and now - since > seconds


def _bound_kernel(transport: asyncio.Transport) -> None:
    """Bounds what the kernel holds for a peer that does not read, in bytes and in time."""
    own = transport.get_extra_info("socket")
    own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, bounds.MAX_UNSENT_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        milliseconds = int(bounds.WRITE_SECONDS * 1000)
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
