"""Ways to make the gateway faster, compared in one run: ``python -m benchmarks.gateway_levers``.

| variant | what it is |
|---|---|
| as it is | one process, asyncio's loop, the bridge from the driver's thread |
| uvloop | the same on uvloop's loop, if uvloop is installed |
| two processes | two processes that listen on one port (SO_REUSEPORT) |
| a wake-up for each result | without the bridge: each result of the driver wakes the loop |

Each variant serves the data of `benchmarks.pages_data`. For each read, the rounds of all variants
take turns. Prints answers/s, and the processor time of the gateway's processes for an answer.
Other programs change the first, and hardly the second. IM_CASSANDRA_HOSTS names the server.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import os
import secrets
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any, Final, NamedTuple, cast

import psutil
from aiohttp import web
from pydantic import SecretStr

from backends.cassandra.session import cassandra_session
from backends.cassandra.tables import create_tables
from benchmarks.pages import CLIENTS, PAGE, history_page, length_of, sync_page
from benchmarks.pages_data import SECRET, USERS, fill
from gateway.http.http_app import make_app
from gateway.http.server import Runner
from gateway.http.tokens import issue_token
from gateway.log.wake_ups import WakeUps
from gateway.store.bridge import Bridge
from gateway.store.cassandra_store import CassandraStore
from schemas.settings import Settings
from tests.support.gateway_store import FakeIndex
from tests.support.waiting import until

ROUNDS: Final = 5
SECONDS: Final = 2.0

AS_IT_IS: Final = "as it is"
UVLOOP: Final = "uvloop"
TWO: Final = "two processes"
SINGLY: Final = "a wake-up for each result"

_CONNECT_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 20.0

_READS: Final[Mapping[str, Callable[[str, int], str]]] = {
    "/v1/sync, pages of 100": sync_page,
    "history, pages of 100": history_page,
    "the list of 5 conversations": lambda _user, _number: "/v1/conversations",
    "/healthz": lambda _user, _number: "/healthz",
}
"""The path of request n of a user, by the name of a read."""


class Served(NamedTuple):
    """The running processes of one variant."""

    port: int
    processes: list[psutil.Process]

    def processor_seconds(self) -> float:
        """The processor time of all processes so far."""
        times = [process.cpu_times() for process in self.processes]
        return sum(each.user + each.system for each in times)


class Round(NamedTuple):
    """The result of one round."""

    rate: float
    microseconds: float


def main() -> None:
    """Prints a line for each read and variant."""
    settings = Settings(namespace=f"bench-{secrets.token_hex(4)}", jwt_secret=SecretStr(SECRET))
    variants = [AS_IT_IS, TWO, SINGLY]
    if importlib.util.find_spec(UVLOOP) is not None:
        variants.append(UVLOOP)
    with cassandra_session(settings) as session, ExitStack() as stack:
        create_tables(session, settings)
        try:
            fill(session)
            served = {each: stack.enter_context(_serving(settings, each)) for each in variants}
            for name in _READS:
                asyncio.run(_compare(settings, name, served))
            stack.close()
        finally:
            session.execute(f"DROP KEYSPACE {settings.keyspace}", timeout=60)


async def _compare(settings: Settings, name: str, served: Mapping[str, Served]) -> None:
    rounds: dict[str, list[Round]] = {variant: [] for variant in served}
    for each in served.values():
        await _measure(settings, name, each)  # warm-up
    for _ in range(ROUNDS):
        for variant, each in served.items():
            rounds[variant].append(await _measure(settings, name, each))
    for variant, results in rounds.items():
        rates, costs = [r.rate for r in results], [r.microseconds for r in results]
        print(
            f"{name}, {variant}: {statistics.median(rates):.0f}/s "
            f"({min(rates):.0f} to {max(rates):.0f}), {statistics.median(costs):.0f} µs of "
            f"processor time ({min(costs):.0f} to {max(costs):.0f})",
            flush=True,
        )
    print(f"load average: {os.getloadavg()}", flush=True)


async def _measure(settings: Settings, name: str, served: Served) -> Round:
    began, used = time.monotonic(), served.processor_seconds()
    users = [f"user{number % USERS}" for number in range(CLIENTS)]
    counts = await asyncio.gather(
        *(_client(settings, name, served.port, user, began + SECONDS) for user in users)
    )
    seconds, used = time.monotonic() - began, served.processor_seconds() - used
    return Round(sum(counts) / seconds, used / sum(counts) * 1e6)


async def _client(settings: Settings, name: str, port: int, user: str, end: float) -> int:
    """Sends one request after the other over one connection; returns their number."""
    token = issue_token(settings, user, timedelta(hours=1))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in itertools.count():
        if time.monotonic() >= end:
            break
        writer.write(
            f"GET {_READS[name](user, number)} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {token}\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(length_of(head))
        expected = PAGE if "100" in name else 0
        if not head.startswith(b"HTTP/1.1 200") or body.count(b'"message_sent"') < expected:
            raise AssertionError(head.decode())
    writer.close()
    return number


@contextmanager
def _serving(settings: Settings, variant: str) -> Iterator[Served]:
    # uvloop's transports are no subclasses of asyncio's, which the gateway asserts.
    options = ["-O", "-m"] if variant == UVLOOP else ["-m"]
    module = "benchmarks.gateway_levers"
    command = [sys.executable, *options, module, settings.namespace, variant]
    started: list[subprocess.Popen[str]] = []
    port = "0"
    try:
        for _ in range(2 if variant == TWO else 1):
            process = subprocess.Popen([*command, port], stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own module
            started.append(process)
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            port = process.stdout.readline().strip()
        yield Served(int(port), [psutil.Process(each.pid) for each in started])
    finally:
        for process in started:
            process.terminate()
            process.wait(_STOP_SECONDS)


class _Singly(Bridge[Any]):
    """A bridge that wakes the loop for each result."""

    def _arrive(self, arrival: Any) -> None:
        self._loop.call_soon_threadsafe(self._complete, arrival)

    @staticmethod
    def _complete(arrival: Any) -> None:
        if arrival.waiting.done():  # cancelled by its waiter
            return
        if arrival.error is None:
            arrival.waiting.set_result(arrival.result)
        else:
            arrival.waiting.set_exception(arrival.error)


async def _serve(settings: Settings, variant: str, port: int) -> None:
    """Serves until the process ends."""
    store = CassandraStore(settings)
    if variant == SINGLY:
        cast(Any, store)._queries._bridge = _Singly()  # noqa: SLF001 - a variant of the store
    store.start()
    await until(store.reachable, _CONNECT_SECONDS)
    runner = Runner(make_app(settings, store, FakeIndex(), WakeUps()), shutdown_seconds=1)
    await runner.setup()
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.bind(("127.0.0.1", port))
    await web.SockSite(runner, listening).start()
    print(listening.getsockname()[1], flush=True)
    await asyncio.Event().wait()


def _serve_variant(namespace: str, variant: str, port: str) -> None:
    settings = Settings(namespace=namespace, jwt_secret=SecretStr(SECRET))
    serving = _serve(settings, variant, int(port))
    if variant == UVLOOP:
        importlib.import_module(UVLOOP).run(serving)
    else:
        asyncio.run(serving)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _serve_variant(*sys.argv[1:])
    else:
        main()
