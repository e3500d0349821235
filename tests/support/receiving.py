"""An HTTP server for webhooks and push that answers, fails and hangs as the test wants."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from threading import Event, Thread
from typing import Literal, NamedTuple, TypeAlias

from tests.support.raw_server import raw_server, send

Trouble: TypeAlias = Literal[
    "hangs", "hangs after the status", "slow headers", "slow body", "endless body", "cut body",
    "garbage", "closes", "resets",
]  # fmt: skip
"""What the server does in place of an answer."""

NO_ANSWER: tuple[Trouble, ...] = (
    "hangs", "hangs after the status", "slow headers", "garbage", "closes", "resets",
)  # fmt: skip
"""Troubles before the end of the headers: the request is not acknowledged."""

BODY_TROUBLES: tuple[Trouble, ...] = ("slow body", "endless body", "cut body")
"""Troubles after a status of 200: the request is acknowledged, unless its body counts."""


class Reply(NamedTuple):
    """A complete answer. ``headers``: lines, each with CRLF."""

    status: int = 200
    body: bytes = b""
    headers: str = ""


class Received(NamedTuple):
    """A request; the names of headers are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes


Decide: TypeAlias = Callable[[Received], Reply | Trouble]


class Receiver:
    """A server. ``decide`` chooses the answer to each request."""

    def __init__(self) -> None:
        self.url = ""
        self.port = 0
        self.received: list[Received] = []
        self.answered: list[Received] = []
        """The requests that were answered with a status of 2xx."""
        self.decide: Decide = lambda _: Reply()
        self.is_released = False
        """Ends the requests that hang."""

    def always(self, answer: Reply | Trouble) -> None:
        """Give the same answer to all requests."""
        self.decide = lambda _: answer

    def replies(self, *answers: Reply | Trouble) -> None:
        """Give these answers in order; the last one repeats."""
        left = list(answers)
        self.decide = lambda _: left.pop(0) if len(left) > 1 else left[0]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until an end or a trouble."""
        try:
            while True:
                request = await _read(reader)
                self.received.append(request)
                answer = self.decide(request)
                if not isinstance(answer, Reply):
                    await self._trouble(answer, writer)
                    return
                if answer.status // 100 == 2:
                    self.answered.append(request)
                await send(writer, _response(answer))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _trouble(self, trouble: Trouble, writer: asyncio.StreamWriter) -> None:
        if trouble == "hangs":
            while not self.is_released:  # noqa: ASYNC110 - set by another thread
                await asyncio.sleep(0.02)
        else:
            await _trouble(trouble, writer)


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {}
    for line in head[1:-2]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(head[0].split()[1], headers, body)


def _response(answer: Reply) -> bytes:
    head = f"HTTP/1.1 {answer.status} X\r\nContent-Length: {len(answer.body)}\r\n"
    return f"{head}{answer.headers}\r\n".encode() + answer.body


async def _trouble(trouble: Trouble, writer: asyncio.StreamWriter) -> None:
    match trouble:
        case "hangs after the status" | "slow headers":
            await _headers_without_end(trouble, writer)
        case "slow body" | "endless body":
            await send(writer, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                size = 1 if trouble == "slow body" else 100_000
                await send(writer, f"{size:x}\r\n".encode() + b" " * size + b"\r\n")
                await asyncio.sleep(0.05 if trouble == "slow body" else 0)
        case "cut body":
            await send(writer, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        case "garbage":
            await send(writer, b"\x00\xff SSH-2.0-OpenSSH\r\n\r\n" * 20)
        case "closes":
            pass
        case "resets":
            writer.transport.abort()


async def _headers_without_end(trouble: Trouble, writer: asyncio.StreamWriter) -> None:
    await send(writer, b"HTTP/1.1 200 OK\r\n")
    while True:
        if trouble == "slow headers":
            await send(writer, b"X: y\r\n")
        await asyncio.sleep(0.02)


@asynccontextmanager
async def receiver(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A running server on 127.0.0.1. At the end, all its connections are closed."""
    server = Receiver()
    async with raw_server(server.serve, tls) as server.port:
        server.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.port}"
        yield server


@contextmanager
def receiver_in_thread() -> Iterator[Receiver]:
    """A running server with an event loop of its own, for tests that block theirs."""
    ready, ended = Event(), asyncio.Event()
    found: list[tuple[Receiver, asyncio.AbstractEventLoop]] = []

    async def serve() -> None:
        async with receiver() as server:
            found.append((server, asyncio.get_running_loop()))
            ready.set()
            await ended.wait()

    thread = Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    server, loop = found[0]
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
