"""Peers that send arbitrary HTTP, byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from gateway.http.tokens import issue_token
from tests.support.gateway import Caller
from tests.support.running_time import running_time

ANSWER_SECONDS: Final = 20.0


class Refusal(NamedTuple):
    """A response with its headers and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> Any:
        """The problem document in the body."""
        assert self.headers["content-type"] == "application/problem+json"
        return msgspec.json.decode(self.body)


class Peer:
    """One TCP connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Sends bytes; ignores a connection that was closed in the meantime."""
        try:
            self.writer.write(data)
            await self.writer.drain()
        except ConnectionError:
            pass

    async def answer(self) -> Refusal:
        """The next response."""
        async with asyncio.timeout(ANSWER_SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status, *lines = head.strip().split("\r\n")
            pairs = (line.split(": ", 1) for line in lines)
            headers = {name.lower(): value for name, value in pairs}
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Refusal(int(status.split(" ", 2)[1]), headers, body)

    async def ends(self) -> None:
        """Waits until the gateway has closed the connection, for at most `ANSWER_SECONDS`."""
        async with asyncio.timeout(ANSWER_SECONDS):
            try:
                while await self.reader.read(65_536):
                    pass
            except ConnectionError:
                pass


@asynccontextmanager
async def peer(gateway: Caller) -> AsyncIterator[Peer]:
    """A connected peer."""
    where = urlsplit(gateway.base)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        yield Peer(reader, writer)
    finally:
        writer.transport.abort()


def head(gateway: Caller, line: str, user: str = "ann", *more: str) -> bytes:
    """The headers of a request of ``user``."""
    token = issue_token(gateway.settings, user, timedelta(minutes=1))
    lines = [f"{line} HTTP/1.1", "Host: x", f"Authorization: Bearer {token}", *more, "", ""]
    return "\r\n".join(lines).encode()


def upgrade(gateway: Caller, user: str = "ann", query: str = "") -> bytes:
    """A request that opens a WebSocket."""
    return head(
        gateway,
        f"GET /v1/live{query}",
        user,
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    )


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A masked frame of a client, with a mask of zeros."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65_536:
        length = bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([0x80 | 127]) + size.to_bytes(8, "big")
    return bytes([(0x80 if fin else 0) | opcode]) + length + bytes(4) + payload


class Latency:
    """The latency of other clients' requests during the test."""

    def __init__(self, gateway: Caller) -> None:
        self._gateway = gateway

    async def measure(self, requests: int) -> float:
        """The second-worst latency of some requests of another user, in seconds. All must succeed.

        The worst request may have waited for other work on the machine. Pauses of the process do
        not count.
        """
        seconds = []
        with running_time() as clock:
            for _ in range(requests):
                started = clock()
                answer = await self._gateway.get("/v1/sync", "bob")
                seconds.append(clock() - started)
                assert answer.status == 200
        return sorted(seconds)[-2]
