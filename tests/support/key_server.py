"""A JWKS server on a local port, which serves, changes, fails and hangs as the test wants."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal, TypeAlias

from gateway.token_keys.jwks_url import MAX_JWKS_BYTES
from tests.support.raw_server import raw_server, send
from tests.support.tokens import jwk, jwks, private_key

Trouble: TypeAlias = Literal[
    "status 500", "status 404", "redirect", "garbage", "no key", "compressed",
    "huge", "endless", "hangs", "slow headers", "slow body", "cut", "closed",
]  # fmt: skip
"""What the server does in place of a good answer."""

SLOW: tuple[Trouble, ...] = ("endless", "hangs", "slow headers", "slow body")
"""Troubles that never end by themselves. ``endless`` ends at the bound of the size."""

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class KeyServer:
    """The keys of ``numbers``, with the kids k0, k1 …, for ES256."""

    def __init__(self) -> None:
        self.numbers = [0]
        self.trouble: Trouble | None = None
        self.padding = 0
        self.requests = 0
        self.url = ""
        self.reached = asyncio.Event()

    def body(self) -> bytes:
        """The good answer, with ``padding`` spaces."""
        keys = (jwk("ES256", private_key("ES256", n), kid=f"k{n}") for n in self.numbers)
        return jwks(*keys) + b" " * self.padding

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one connection with one answer."""
        self.requests += 1
        self.reached.set()
        try:
            await reader.readuntil(b"\r\n\r\n")
            await self._write(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _write(self, writer: asyncio.StreamWriter) -> None:
        match self.trouble:
            case None:
                await send(writer, _response(self.body()))
            case "status 500" | "status 404":
                await send(writer, _response(self.body(), status=self.trouble[7:]))
            case "redirect":
                more = f"Location: {self.url}/other\r\n".encode()
                await send(writer, _response(b"", more, status="302"))
            case "garbage":
                await send(writer, _response(b"<html>secret</html>"))
            case "no key":
                await send(writer, _response(jwks()))
            case "compressed":
                more = b"Content-Encoding: gzip\r\n"
                await send(writer, _response(gzip.compress(self.body()), more))
            case "huge":
                await send(writer, _response(b" " * (MAX_JWKS_BYTES + 1)))
            case "cut":
                await send(writer, _response(self.body())[:-10])
            case "closed":
                pass
            case _:
                await self._write_slowly(writer)

    async def _write_slowly(self, writer: asyncio.StreamWriter) -> None:
        if self.trouble == "hangs":
            await asyncio.sleep(3_600)
        await send(writer, HEAD if self.trouble == "slow headers" else HEAD + b"\r\n")
        while True:
            if self.trouble == "endless":
                await send(writer, b" " * 10_000)
            else:
                await asyncio.sleep(0.02)
                await send(writer, b"X: y\r\n" if self.trouble == "slow headers" else b" ")


def _response(body: bytes, more: bytes = b"", status: str = "200") -> bytes:
    head = HEAD.replace(b"200", status.encode())
    return head + more + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


@asynccontextmanager
async def key_server() -> AsyncIterator[KeyServer]:
    """A running server. At the end, all its connections are closed."""
    keys = KeyServer()
    async with raw_server(keys.answer) as port:
        keys.url = f"http://127.0.0.1:{port}/keys?secret=word"
        yield keys
