"""Pages from one gateway process, compared with a bare handler that sends the same queries.

Measures pages of `/v1/sync` and pages of a conversation's history. Run it by ``python -m
benchmarks.pages`` on the server that IM_CASSANDRA_HOSTS names.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from pydantic import SecretStr

from backends.cassandra.session import cassandra_session
from backends.cassandra.tables import create_tables
from benchmarks import report
from benchmarks.pages_data import CONVERSATIONS, ENTRIES, RECORDS, SECRET, USERS, fill, place
from benchmarks.results import Figure, Target
from gateway.http.tokens import issue_token
from schemas.settings import Settings

PAGE: Final = 100
"""Entries of a page for which there is a target."""
SIZES: Final = (10, PAGE)
CLIENTS: Final = 16
ROUNDS: Final = 5
SECONDS: Final = 3.0
SHARE: Final = 0.6
"""The target: this share of the bare handler's rate."""

_IF_MISSED: Final = (
    "the gateway decodes references and merges rows, which a bare handler does not; runs without "
    "other programs had 0.71 and more; next: a page of one conversation without merging"
)

_GATEWAY, _BARE = "gateway", "bare handler"
_STOP_SECONDS: Final = 20.0


def sync_page(_user: str, number: int, size: int = PAGE) -> str:
    """The path of page n of the sync timeline of a user."""
    return f"/v1/sync?after={number * size % RECORDS - 1}&limit={size}"


def history_page(user: str, number: int, size: int = PAGE) -> str:
    """The path of page n of a user: of one conversation after the other."""
    conv_id, _ = place(user, number % CONVERSATIONS)
    first = 1 + number // CONVERSATIONS * size % ENTRIES
    return f"/v1/conversations/{conv_id}/messages?from={first}&limit={size}"


_READS: Final[Mapping[str, Callable[[str, int, int], str]]] = {
    "/v1/sync": sync_page,
    "history": history_page,
}
"""The path of page n of a user with a number of entries, by the name of a read."""


def figures() -> Iterator[Figure]:
    """Pages/s of each read, in interleaved rounds of all variants."""
    settings = Settings(namespace=f"bench-{secrets.token_hex(4)}", jwt_secret=SecretStr(SECRET))
    with cassandra_session(settings) as session:
        create_tables(session, settings)
        try:
            fill(session)
            for size, name in itertools.product(SIZES, _READS):
                yield asyncio.run(_compare(settings, name, size))
        finally:
            session.execute(f"DROP KEYSPACE {settings.keyspace}", timeout=60)


async def _compare(settings: Settings, name: str, size: int) -> Figure:
    rounds: dict[str, list[float]] = {_GATEWAY: [], _BARE: []}
    with _server(settings) as (gateway, bare):
        ports = {_GATEWAY: gateway, _BARE: bare}
        for port in ports.values():
            await _measure(settings, name, size, port)  # warm-up
        for _ in range(ROUNDS):
            for variant, port in ports.items():
                rounds[variant].append(await _measure(settings, name, size, port))
    target = Target(_GATEWAY, SHARE, against=_BARE, if_missed=_IF_MISSED)
    targets = [target] if size == PAGE else []
    return Figure(f"pages of {size} of {name}, one process", "pages/s", rounds, targets)


@contextmanager
def _server(settings: Settings) -> Iterator[tuple[int, int]]:
    command = [sys.executable, "-m", "benchmarks.pages_server", settings.namespace]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own module
    try:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        gateway, bare = map(int, process.stdout.readline().split())
        yield gateway, bare
    finally:
        process.terminate()
        process.wait(_STOP_SECONDS)


async def _measure(settings: Settings, name: str, size: int, port: int) -> float:
    began = time.monotonic()
    users = [f"user{number % USERS}" for number in range(CLIENTS)]
    counts = await asyncio.gather(
        *(_client(settings, name, size, port, user, began + SECONDS) for user in users)
    )
    return sum(counts) / (time.monotonic() - began)


async def _client(  # noqa: PLR0913, PLR0917 - what a request needs
    settings: Settings, name: str, size: int, port: int, user: str, until: float
) -> int:
    """Requests page after page over one connection; returns the number of pages."""
    token = issue_token(settings, user, timedelta(hours=1))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    pages = 0
    for number in itertools.count():
        request = (
            f"GET {_READS[name](user, number, size)} HTTP/1.1\r\nHost: localhost\r\n"
            f"X-User: {user}\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
        writer.write(request.encode())
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(length_of(head))
        if not head.startswith(b"HTTP/1.1 200") or body.count(b'"message_sent"') != size:
            raise AssertionError(head.decode())
        pages += 1
        if time.monotonic() >= until:
            break
    writer.close()
    return pages


def length_of(head: bytes) -> int:
    """The length of the body that follows the head of a response."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise AssertionError("an answer without its length")


if __name__ == "__main__":
    for _figure in figures():
        print(report.line(_figure))
