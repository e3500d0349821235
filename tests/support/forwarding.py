"""A port that forwards to a server or to one of several, and that can be cut off from them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from contextlib import suppress

_CHUNK = 65_536


class Forwarder:
    """Forwards connections to a server while open, to simulate a server that stops and starts.

    Args:
        port: The port to listen on.
        host: The host of the server.
        server_port: The port of the server.
        address: The local address to listen on.
    """

    def __init__(self, port: int, host: str, server_port: int, address: str = "127.0.0.1") -> None:
        self._port = port
        self._address = address
        self._target = (host, server_port)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.life: Callable[[], int | None] = lambda: None
        """Bytes from the server after which a new connection breaks; None: no limit."""
        self.delay_seconds = 0.0
        """Delay of each response."""

    async def open(self) -> None:
        """Accepts and forwards connections."""
        self._server = await asyncio.start_server(self._accept, self._address, self._port)

    async def cut(self) -> None:
        """Closes all connections and accepts no more."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with suppress(OSError, asyncio.CancelledError):
                await self._join(reader, writer)
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await self._connect()
        try:
            there = asyncio.ensure_future(_pump(reader, server_writer))
            back = asyncio.ensure_future(
                _pump(server_reader, writer, self.life(), self.delay_seconds)
            )
            try:
                await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                there.cancel()
                back.cancel()
                await asyncio.gather(there, back, return_exceptions=True)
        finally:
            server_writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self._target)


class Balancer(Forwarder):
    """Forwards each connection to the next of several servers, past those that accept none.

    Args:
        port: The port to listen on.
        servers: Host and port of each server.
    """

    def __init__(self, port: int, servers: Sequence[tuple[str, int]]) -> None:
        super().__init__(port, *servers[0])
        self._servers = servers
        self._turns = itertools.cycle(servers)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for _ in self._servers:
            with suppress(OSError):
                return await asyncio.open_connection(*next(self._turns))
        raise ConnectionRefusedError


async def _pump(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    left: int | None = None,
    delay_seconds: float = 0,
) -> None:
    loop = asyncio.get_running_loop()
    while left != 0 and (data := await reader.read(_CHUNK if left is None else left)):
        if delay_seconds:
            loop.call_later(delay_seconds, writer.write, data)
        else:
            writer.write(data)
            await writer.drain()
        left = None if left is None else left - len(data)
