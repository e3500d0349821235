"""The sockets of the gateway."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, web

from devstack.ports import free_ports
from gateway.http.server import serve


class App:
    """An application that records its start."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.web = web.Application()
        self.web.cleanup_ctx.append(self._start)
        self.web.router.add_get("/", self._answer)

    async def _start(self, _app: web.Application) -> AsyncIterator[None]:
        self.started.set()
        yield

    async def _answer(self, _request: web.Request) -> web.Response:
        return web.Response(text="served")


async def test_a_port_in_use_ends_the_gateway_before_the_application_starts() -> None:
    """No thread that connects to a server runs when the process reports the port and ends."""
    app = App()
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(OSError, match="in use"):
        await serve(app.web, "127.0.0.1", other.getsockname()[1], 1.0)
    assert not app.started.is_set()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_each_address_of_the_host_is_served_until_a_signal(host: str) -> None:
    """Requests to the host are answered; SIGTERM ends the server and frees the port."""
    app, (port,) = App(), free_ports(1)
    serving = asyncio.create_task(serve(app.web, host, port, 1.0))
    async with ClientSession() as http, asyncio.timeout(20):
        await app.started.wait()
        async with http.get(f"http://{host}:{port}/") as response:
            assert await response.text() == "served"
        os.kill(os.getpid(), signal.SIGTERM)
        await serving
    socket.create_server(("127.0.0.1", port)).close()
