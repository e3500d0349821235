"""Runs the application in aiohttp's server, with the bounds of `gateway.http.connection`."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
import uuid
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any, Final

from aiohttp import web

from gateway import bounds
from gateway.http.connection import Connection
from gateway.http.connections import CONNECTIONS, Connections
from gateway.http.draining import DRAINING
from gateway.http.problems import problem_of
from gateway.log_lines import server_log

SERVER_OPTIONS: Final[dict[str, Any]] = {
    "access_log": None,  # gateway.middleware writes one without query strings
    "handler_cancellation": True,  # no reads for a peer that went away
    "auto_decompress": False,  # a small body could become a large one
    "max_line_size": bounds.MAX_LINE_BYTES,
    "max_field_size": bounds.MAX_LINE_BYTES,
    "max_headers": bounds.MAX_HEADERS,
    "lingering_time": bounds.LINGER_SECONDS,
    "keepalive_timeout": bounds.IDLE_SECONDS,
}
"""Options of aiohttp's server."""

ACCEPT_BACKLOG: Final = 1_024
"""Maximum number of connections that the kernel holds before they are accepted."""

_OTHER_FILES: Final = 512
"""Open files and connections to servers, in addition to the connections of peers."""

_CANCEL_SECONDS: Final = 2.0
"""Time limit for requests that did not end by themselves."""

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class _Server(web.Server):
    """aiohttp's server, with `Connection` for each peer."""

    def __init__(self, answer: Answer, connections: Connections, **options: Any) -> None:
        super().__init__(answer, **options)
        self._bounded = connections

    def __call__(self) -> Connection:
        return Connection(self, self._bounded, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs the application.

    Args:
        app: The application.
        shutdown_seconds: Time limit for the requests in progress, after the last wait has ended.
    """

    def __init__(self, app: web.Application, shutdown_seconds: float) -> None:
        super().__init__(app, shutdown_timeout=_CANCEL_SECONDS)
        of_app = app.get(CONNECTIONS)
        self.connections = Connections() if of_app is None else of_app
        self._finish_seconds = shutdown_seconds
        self._sweeping: asyncio.Task[None] | None = None

    async def cleanup(self) -> None:
        """Ends the gateway, see `gateway.http.draining`."""
        for site in self.sites:
            await site.stop()
        draining = self.app.get(DRAINING)
        if draining is not None:
            await draining.end_waits()
        await self.connections.finish(self._finish_seconds)
        await super().cleanup()

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        self._sweeping = asyncio.create_task(self.connections.sweep())
        return _Server(
            _answering(made.request_handler),
            self.connections,
            request_factory=made.request_factory,
            logger=server_log(),
            **SERVER_OPTIONS,
        )

    async def _cleanup_server(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeping
        await super()._cleanup_server()


def _answering(answer: Answer) -> Answer:
    """Converts an error of aiohttp before the middleware to a problem: an expectation."""

    async def answered(request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await answer(request)
        except web.HTTPException as error:
            return problem_of(error).response(uuid.uuid4().hex)

    return answered


def raise_open_files() -> None:
    """Raises the soft limit of open files to the required number, at most to the hard limit.

    A connection above the limit waits in the backlog until another connection is closed.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = bounds.MAX_CONNECTIONS + _OTHER_FILES
    wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def serve(app: web.Application, host: str, port: int, shutdown_seconds: float) -> None:
    """Serves until SIGTERM or SIGINT, then ends in order (`gateway.http.draining`).

    The sockets are opened before the application starts: a port in use ends the gateway before
    the gateway connects to any server.

    Raises:
        OSError: The server cannot listen on the address.
    """
    raise_open_files()
    with ExitStack() as stack:
        sockets = _listening(host, port, stack)
        await _serve(app, sockets, shutdown_seconds)


def _listening(host: str, port: int, stack: ExitStack) -> list[socket.socket]:
    """A socket for each address of the host; ``stack`` closes them."""
    resolved = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    addresses = dict.fromkeys((family, address) for family, _, _, _, address in resolved)
    return [
        stack.enter_context(socket.create_server(address, family=family, backlog=ACCEPT_BACKLOG))
        for family, address in addresses
    ]


async def _serve(
    app: web.Application, sockets: list[socket.socket], shutdown_seconds: float
) -> None:
    runner = Runner(app, shutdown_seconds)
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    await runner.setup()
    try:
        for each in sockets:
            await web.SockSite(runner, each, backlog=ACCEPT_BACKLOG).start()
        await ending.wait()
        if DRAINING in app:
            await app[DRAINING].announce()
    finally:
        await runner.cleanup()
