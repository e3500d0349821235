"""Pages of 100 from one gateway process, compared with a bare handler that sends the same queries.

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
CLIENTS: Final = 16
ROUNDS: Final = 5
SECONDS: Final = 3.0
SHARE: Final = 0.6
"""The target: this share of the bare handler's rate."""

_GATEWAY, _BARE = "gateway", "bare handler"
_STOP_SECONDS: Final = 20.0


def sync_page(_user: str, number: int) -> str:
    """The path of page n of the sync timeline of a user."""
    return f"/v1/sync?after={number * PAGE % RECORDS - 1}&limit={PAGE}"


def history_page(user: str, number: int) -> str:
    """The path of page n of a user: of one conversation after the other."""
    conv_id, _ = place(user, number % CONVERSATIONS)
    first = 1 + number // CONVERSATIONS * PAGE % ENTRIES
    return f"/v1/conversations/{conv_id}/messages?from={first}&limit={PAGE}"


_READS: Final[Mapping[str, Callable[[str, int], str]]] = {
    "/v1/sync": sync_page,
    "history": history_page,
}
"""The path of page n of a user, by the name of a read."""


def figures() -> Iterator[Figure]:
    """Pages/s of each read, in interleaved rounds of all variants."""
    settings = Settings(namespace=f"bench-{secrets.token_hex(4)}", jwt_secret=SecretStr(SECRET))
    with cassandra_session(settings) as session:
        create_tables(session, settings)
        try:
            fill(session)
            for name in _READS:
                yield asyncio.run(_compare(settings, name))
        finally:
            session.execute(f"DROP KEYSPACE {settings.keyspace}", timeout=60)


async def _compare(settings: Settings, name: str) -> Figure:
    rounds: dict[str, list[float]] = {_GATEWAY: [], _BARE: []}
    with _server(settings) as (gateway, bare):
        ports = {_GATEWAY: gateway, _BARE: bare}
        for port in ports.values():
            await _measure(settings, name, port)  # warm-up
        for _ in range(ROUNDS):
            for variant, port in ports.items():
                rounds[variant].append(await _measure(settings, name, port))
    target = Target(_GATEWAY, SHARE, against=_BARE)
    return Figure(f"pages of 100 of {name}, one process", "pages/s", rounds, [target])


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


async def _measure(settings: Settings, name: str, port: int) -> float:
    began = time.monotonic()
    users = [f"user{number % USERS}" for number in range(CLIENTS)]
    counts = await asyncio.gather(
        *(_client(settings, name, port, user, began + SECONDS) for user in users)
    )
    return sum(counts) / (time.monotonic() - began)


async def _client(settings: Settings, name: str, port: int, user: str, until: float) -> int:
    """Requests page after page over one connection; returns the number of pages."""
    token = issue_token(settings, user, timedelta(hours=1))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    pages = 0
    for number in itertools.count():
        request = (
            f"GET {_READS[name](user, number)} HTTP/1.1\r\nHost: localhost\r\n"
            f"X-User: {user}\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
        writer.write(request.encode())
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(length_of(head))
        if not head.startswith(b"HTTP/1.1 200") or body.count(b'"message_sent"') != PAGE:
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
