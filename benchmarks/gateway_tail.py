"""The message rate up to which a gateway reads the log: ``python -m benchmarks.gateway_tail``.

A gateway reads every sync record and every entry, whoever its clients are. For each number of
recipients, the rate doubles until the gateway falls behind, or until the machine cannot append the
load. Meanwhile the gateway serves `PAGES_PER_SECOND` pages of sync timelines, and `LISTENERS`
clients have live connections without messages.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from datetime import timedelta
from typing import Final

from aiohttp import ClientSession
from msgspec import Struct

from backends.cassandra.session import cassandra_session
from backends.cassandra.tables import use_keyspace
from benchmarks.live_clients import ClientsOrder, ClientsReading
from benchmarks.live_gateway import GatewayReading
from benchmarks.live_pipeline import AnsweringProcess, deployment_with_store, until_up
from benchmarks.pages_data import RECORDS, USERS, fill
from benchmarks.results import Figure
from benchmarks.sync_load import LoadDone, LoadOrder
from gateway.http.tokens import issue_token
from schemas.settings import Settings

FAN_OUTS: Final = (3, 100, 500)
FIRST_RATE: Final = 250
SECONDS: Final = 6.0
LISTENERS: Final = 500
PAGES_PER_SECOND: Final = 20
PAGE: Final = 20
BEHIND_MS: Final = 1_000.0
"""A gateway with an older record is behind: a reader without a wake-up polls after a second."""

_REACHED: Final = 0.9
"""A load that reached less of its rate is limited by the machine."""


class TailStep(Struct):
    """One rate. ``rate`` and ``records`` are those that were appended, a second.

    ``oldest``: the age of the oldest record when the gateway had read it, in ms. ``tail`` and
    ``others``: processor time for each record, of the thread that reads the log and of all other
    threads, in µs. The time of the pages is not subtracted. ``pages``: p50 and p99 in ms.
    """

    fan_out: int
    wanted: int
    rate: float
    records: float
    oldest: float
    tail: float
    others: float
    pages: tuple[float, float]

    @property
    def is_followed(self) -> bool:
        """Whether the gateway was not behind."""
        return self.oldest < BEHIND_MS

    @property
    def is_reached(self) -> bool:
        """Whether the load reached its rate."""
        return self.rate > _REACHED * self.wanted

    def line(self) -> str:
        """The step as a line of a table."""
        p50, p99 = self.pages
        return (
            f"| {self.fan_out} | {self.rate:,.0f} | {self.records:,.0f} | {self.oldest:,.0f} ms |"
            f" {self.tail:.1f} µs | {self.others:.1f} µs | {p50:.0f} / {p99:.0f} ms |"
        )


HEAD: Final = (
    "| fan-out | messages/s | records/s | oldest record | tail thread, a record |"
    " other threads, a record | pages p50 / p99 |"
)


class TailRun:
    """The steps of all numbers of recipients, at one gateway.

    Args:
        settings: The deployment.
        http: The HTTP session that requests pages.
    """

    def __init__(self, settings: Settings, http: ClientSession) -> None:
        self._settings = settings
        self._http = http
        self._gateway = AnsweringProcess(settings, "benchmarks.live_gateway")
        self._load = AnsweringProcess(settings, "benchmarks.sync_load")
        port = str(settings.gateway_port)
        self._clients = AnsweringProcess(settings, "benchmarks.live_clients", port)

    async def steps(self) -> AsyncGenerator[TailStep, None]:
        """The steps, each as soon as it is measured."""
        with self._gateway, self._load, self._clients:
            await until_up(self._settings, self._http)
            order = ClientsOrder("connect", "u", 0, LISTENERS)
            await asyncio.to_thread(self._clients.ask, order, ClientsReading)
            for fan_out in FAN_OUTS:
                rate, step = FIRST_RATE, None
                while step is None or (step.is_followed and step.is_reached):
                    step = await self._step(LoadOrder(fan_out, rate, SECONDS))
                    yield step
                    rate *= 2

    async def _step(self, order: LoadOrder) -> TailStep:
        before = await self._read()
        reading = asyncio.create_task(self._pages(order.seconds))
        done = await asyncio.to_thread(self._load.ask, order, LoadDone)
        pages = sorted(await reading)
        after = await self._read()
        count, oldest = after.tail.records, after.tail.oldest
        while count < done.records:  # so that the next step begins without a lag
            await asyncio.sleep(0.2)
            after = await self._read()
            count += after.tail.records
            oldest = max(oldest, after.tail.oldest)
        tail = after.tail.cpu - before.tail.cpu
        return TailStep(
            order.fan_out, order.rate, done.messages / done.seconds, done.records / done.seconds,
            oldest, tail / count * 1e6, (after.cpu - before.cpu - tail) / count * 1e6,
            (pages[len(pages) // 2], pages[int(len(pages) * 0.99)]),
        )  # fmt: skip

    async def _read(self) -> GatewayReading:
        return await asyncio.to_thread(self._gateway.ask, None, GatewayReading)

    async def _pages(self, seconds: float) -> list[float]:
        """The times of pages at a steady rate, in ms."""
        began = time.monotonic()
        pages: list[asyncio.Task[float]] = []
        for number in range(int(PAGES_PER_SECOND * seconds)):
            await asyncio.sleep(began + number / PAGES_PER_SECOND - time.monotonic())
            pages.append(asyncio.create_task(self._page(number)))
        return list(await asyncio.gather(*pages))

    async def _page(self, number: int) -> float:
        began = time.monotonic()
        user = f"user{number % USERS}"
        token = issue_token(self._settings, user, timedelta(hours=1))
        url = f"http://127.0.0.1:{self._settings.gateway_port}/v1/sync"
        after = number * PAGE % (RECORDS - PAGE)
        async with self._http.get(
            url,
            params={"after": after, "limit": PAGE},
            headers={"Authorization": f"Bearer {token}"},
        ) as response:
            page = await response.json()
        if len(page["records"]) != PAGE:
            raise AssertionError(page)
        return (time.monotonic() - began) * 1000


def steps() -> Iterator[TailStep]:
    """All steps of one run."""
    with deployment_with_store() as settings:
        with cassandra_session(settings) as session:
            use_keyspace(session, settings)
            fill(session)
        with asyncio.Runner() as runner:
            http = runner.run(_session())
            found = TailRun(settings, http).steps()
            try:
                while (step := runner.run(anext(found, None))) is not None:
                    yield step
            finally:
                runner.run(found.aclose())
                runner.run(http.close())


async def _session() -> ClientSession:
    return ClientSession()


def figures() -> Iterator[Figure]:
    """For each number of recipients: the last rate at which the gateway was not behind."""
    best: dict[int, TailStep] = {}
    for step in steps():
        if step.is_followed:
            best[step.fan_out] = step
    for fan_out, step in best.items():
        yield Figure(
            f"one gateway reads the log, fan-out {fan_out}", "messages/s", {"highest": [step.rate]}
        )
        yield Figure(
            f"processor time of the gateway for a record, fan-out {fan_out}", "µs",
            {"thread that reads the log": [step.tail], "all threads": [step.tail + step.others]},
        )  # fmt: skip


if __name__ == "__main__":
    print(HEAD, flush=True)
    for _step in steps():
        print(_step.line(), flush=True)
