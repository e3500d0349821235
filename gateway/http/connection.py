"""One connection of a peer, with the bounds that aiohttp does not have.

aiohttp parses requests and sends responses. This module ends the connection

- when the headers of a request take too long or too many bytes,
- when too many bytes of pipelined requests wait behind the one in flight,
- when the peer does not read its responses,
- when a WebSocket client sends anything but a few control frames,
- when a close is not completed.

It answers bytes that are not HTTP with its own problem document.
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
from gateway.http.connections import Connections
from gateway.http.frames import Frames
from gateway.http.load_problems import no_room
from gateway.http.problem_details import Problem, raw_answer
from gateway.http.problem_kinds import head_timeout, internal, not_http

log = logging.getLogger(__name__)

_BAD_REQUEST = 400


class Connection(web.RequestHandler):
    """aiohttp's connection with bounds.

    Args:
        manager: aiohttp's server.
        connections: All connections of the gateway.
        options: The options of aiohttp's class.
    """

    def __init__(self, manager: web.Server, connections: Connections, **options: Any) -> None:
        super().__init__(manager, **options)
        self.violated: asyncio.Future[None] = self._loop.create_future()
        """Done when a WebSocket client has sent a forbidden frame; nothing is read after that."""
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
        """Whether the connection waits for the headers of a request."""
        return self._waiter is not None and not self._waiter.done()

    def count_as(self, user: str) -> None:
        """Counts the connection for ``user``.

        Raises:
            Problem: 429, if the person has the maximum number of connections, all of them in use.
        """
        self._connections.assign(self, user)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Refuses the connection if the maximum number is reached."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of a stream server
        self._wire = transport
        _bound_kernel(transport)
        if self._connections.admit(self):
            self._head_since = self._loop.time()
            super().connection_made(transport)
        else:
            self._refuse(no_room())

    def connection_lost(self, exc: BaseException | None) -> None:
        """Releases the place of the connection."""
        self._connections.leave(self)
        super().connection_lost(exc)
        self._frames = None
        if not self._lost.done():
            self._lost.set_result(None)

    def set_parser(self, parser: Any, data_received_cb: Callable[[], None] | None = None) -> None:
        """Begins a WebSocket: the next bytes are frames."""
        self._frames = Frames()
        if not self._frames.allow(self._message_tail):
            self._message_tail = b""
            self._violate()
        super().set_parser(parser, data_received_cb)

    def data_received(self, data: bytes) -> None:
        """Checks the received bytes and passes them to aiohttp."""
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
        if not self.violated.done():
            self.violated.set_result(None)

    def _count(self, size: int) -> None:
        """Bounds the bytes of incomplete and of waiting requests."""
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
        """Notes the time since which the peer does not read fast enough."""
        super().pause_writing()
        self._stuck_since = self._loop.time()

    def resume_writing(self) -> None:
        """Notes that the peer has read most of the buffer."""
        super().resume_writing()
        self._stuck_since = None

    def check(self, now: float) -> None:
        """See `gateway.http.connections.OpenConnection`."""
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
        """See `gateway.http.connections.OpenConnection`."""
        self.force_close()
        self.abort()

    def hang_up(self) -> None:
        """See `gateway.http.connections.OpenConnection`."""
        self.force_close()

    def abort(self) -> None:
        """Ends the connection now. Unread data is discarded."""
        if self._wire is not None:
            self._wire.abort()

    async def ended(self, seconds: float) -> None:
        """Waits until the connection is closed, and aborts it after ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(self._lost)
        except TimeoutError:
            self.abort()
            await asyncio.shield(self._lost)  # within this or the next iteration of the event loop

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - quotes the request
    ) -> NoReturn:
        """Answers bytes that are not HTTP, and errors outside of `gateway.http.middleware`.

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
        """Answers, stops reading, and closes when the peer has had time to read the response."""
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
    """The connection of a request; None if the server is not that of `gateway.http.server`."""
    protocol: object = request.protocol
    return protocol if isinstance(protocol, Connection) else None


def _is_over(now: float, since: float | None, seconds: float) -> bool:
    return since is not None and now - since > seconds


def _bound_kernel(transport: asyncio.Transport) -> None:
    """Bounds the kernel's buffer for a peer that does not read, in bytes and in time."""
    own = transport.get_extra_info("socket")
    own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, bounds.MAX_UNSENT_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        milliseconds = int(bounds.WRITE_SECONDS * 1000)
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
