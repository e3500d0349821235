"""2,000 live connections at one gateway process: ``python -m benchmarks.live_connections``.

One run, on the real stack. The clients are another process. The figures are in the order of the
run: the clients connect; they are idle; messages reach a pulled group of all of them, a pushed
group of 500, and 1,000 chats; 200 more clients do not read; the gateway ends, and its clients
continue at another gateway while messages are sent.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Final

from aiohttp import ClientSession, ClientTimeout

from benchmarks import report
from benchmarks.live_clients import ClientArrival, ClientsOrder, ClientsReading
from benchmarks.live_gateway import GatewayReading
from benchmarks.live_pipeline import (
    AnsweringProcess,
    Door,
    deployment_with_store,
    send,
    stages,
    until_up,
)
from benchmarks.live_workload import (
    CHATS,
    CONNECTIONS,
    CROWD,
    GROUP,
    PUSHED,
    SLOW_CLIENTS,
    live_commands,
)
from benchmarks.results import Figure, Target
from devstack.ports import free_ports
from schemas.errors import ServerUnavailable
from schemas.settings import Settings

GROUP_MESSAGES: Final = 5
CHAT_RATE: Final = 20
"""Messages a second in all chats; each reaches two clients."""

CHAT_SECONDS: Final = 10
IDLE_SECONDS: Final = 30.0
ENDED_SECONDS: Final = 60.0
ARRIVAL_SECONDS: Final = 60.0
_MB, _KB, _MS = 1e6, 1e3, 1e3


class LiveRun:
    """One run.

    Args:
        settings: The gateway that is measured.
        other: The gateway that takes over.
        http: The HTTP session of the senders.
    """

    def __init__(self, settings: Settings, other: Settings, http: ClientSession) -> None:
        self._settings = settings
        self._other = other
        self._http = http
        self._gateway = AnsweringProcess(settings, "benchmarks.live_gateway")
        ports = [str(each.gateway_port) for each in (settings, other)]
        self._clients = AnsweringProcess(settings, "benchmarks.live_clients", *ports)
        self._broken = 0
        self._slow = AnsweringProcess(settings, "benchmarks.live_clients", ports[0])

    async def figures(self) -> AsyncGenerator[Figure, None]:
        """The figures, each as soon as it is measured."""
        with self._gateway, self._clients, self._slow:
            await until_up(self._settings, self._http)
            for step in (self._connect, self._groups, self._chats, self._not_reading, self._drain):
                async for figure in step():
                    yield figure

    async def _ask(self) -> GatewayReading:
        return await asyncio.to_thread(self._gateway.ask, None, GatewayReading)

    async def _order(self, process: AnsweringProcess, order: ClientsOrder) -> ClientsReading:
        return await asyncio.to_thread(process.ask, order, ClientsReading)

    async def _connect(self) -> AsyncIterator[Figure]:
        before, began = await self._ask(), time.monotonic()
        order = ClientsOrder("connect", "u", 0, CONNECTIONS)
        reading = await self._order(self._clients, order)
        seconds, connected = time.monotonic() - began, await self._ask()
        yield Figure(
            f"{CONNECTIONS:,} clients connect to one gateway", "connections/s",
            {"50 at once": [CONNECTIONS / seconds]},
        )  # fmt: skip
        yield _delays("from the connect to the first message", reading.begins)
        await asyncio.sleep(5)  # the first reviews of the conversations
        idle, began = await self._ask(), time.monotonic()
        await asyncio.sleep(IDLE_SECONDS)
        later, seconds = await self._ask(), time.monotonic() - began
        grown = (later.memory - before.memory) / CONNECTIONS / _KB
        yield Figure(
            "memory of the gateway for a live connection", "KB", {"resident": [grown]},
            [Target("resident", 64, direction="at_most")],
        )  # fmt: skip
        yield Figure(
            "processor time of the gateway", "ms",
            {
                "a connect": [(connected.cpu - before.cpu) / CONNECTIONS * _MS],
                "a second with all idle": [(later.cpu - idle.cpu) / seconds * _MS],
            },
        )  # fmt: skip

    async def _groups(self) -> AsyncIterator[Figure]:
        for conv_id, listeners, kind in (
            (CROWD, CONNECTIONS, "pulled"),
            (GROUP, PUSHED, "pushed"),
        ):
            rounds: dict[str, list[float]] = {"first": [], "median": [], "last": []}
            before = await self._ask()
            for number in range(GROUP_MESSAGES):
                sent = await Door(self._settings, self._http).message(conv_id, "u0", f"{number}")
                arrivals = await self._arrived({(conv_id, sent[0])}, listeners)
                times = sorted(each.at - sent[1] for each in arrivals)
                for name, at in zip(rounds, (0, len(times) // 2, -1), strict=True):
                    rounds[name].append(times[at] * _MS)
            spent = (await self._ask()).cpu - before.cpu
            yield Figure(f"a message to a {kind} group of {listeners:,}, delay", "ms", rounds)
            yield Figure(
                f"processor time of the gateway for each listener of a {kind} group", "ms",
                {"a message": [spent / GROUP_MESSAGES / listeners * _MS]},
            )  # fmt: skip

    async def _chats(self) -> AsyncIterator[Figure]:
        before = await self._ask()
        delays = await self._talk(CHAT_SECONDS)
        spent = (await self._ask()).cpu - before.cpu
        yield _delays(f"{CHATS:,} chats of two, {CHAT_RATE} messages/s, delay", delays)
        yield Figure(
            "processor time of the gateway for a message of a chat", "ms",
            {"accepted and delivered twice": [spent / (CHAT_RATE * CHAT_SECONDS) * _MS]},
        )  # fmt: skip

    async def _talk(self, seconds: float, door: Door | None = None) -> list[float]:
        """Sends messages at a steady rate to the chats in turn; returns their delays."""
        sent = await self._say(seconds, door or Door(self._settings, self._http))
        arrivals = await self._arrived(set(sent), 2 * len(sent))
        return [each.at - sent[each.conv_id, each.seq] for each in arrivals]

    async def _say(self, seconds: float, door: Door) -> dict[tuple[str, int], float]:
        sent: dict[tuple[str, int], float] = {}
        began = time.monotonic()

        async def say(number: int) -> None:
            conv_id = f"chat-{number % CHATS}"
            seq, at = await door.message(conv_id, f"u{2 * (number % CHATS)}", f"{number}")
            sent[conv_id, seq] = at

        async with asyncio.TaskGroup() as group:
            for number in range(int(CHAT_RATE * seconds)):
                await asyncio.sleep(began + number / CHAT_RATE - time.monotonic())
                group.create_task(say(number))
        return sent

    async def _arrived(self, places: set[tuple[str, int]], count: int) -> list[ClientArrival]:
        """The arrivals of these entries, once there are as many as expected."""
        found: list[ClientArrival] = []
        deadline = time.monotonic() + ARRIVAL_SECONDS
        while len(found) < count:
            reading = await self._order(self._clients, ClientsOrder("report"))
            found += [each for each in reading.arrivals if (each.conv_id, each.seq) in places]
            self._broken += len(reading.ends)
            if time.monotonic() > deadline:
                raise ServerUnavailable(
                    f"{len(found)} of {count} messages arrived; {self._broken} connections ended"
                )
            await asyncio.sleep(0.2)
        return found

    async def _all_arrived(self, sent: dict[tuple[str, int], float]) -> ClientsReading:
        """The report of the clients when they have all messages, or at the time limit."""
        everything = ClientsReading(0, [], [], [], [])
        deadline = time.monotonic() + ARRIVAL_SECONDS
        while time.monotonic() < deadline:
            reading = await self._order(self._clients, ClientsOrder("report"))
            everything.open = reading.open
            everything.ends += reading.ends
            everything.resumed += reading.resumed
            everything.arrivals += [a for a in reading.arrivals if (a.conv_id, a.seq) in sent]
            if len(everything.arrivals) >= 2 * len(sent) and reading.open == CONNECTIONS:
                break
            await asyncio.sleep(0.5)
        return everything

    async def _not_reading(self) -> AsyncIterator[Figure]:
        before, began = await self._ask(), time.monotonic()
        order = ClientsOrder("connect", "s", 0, SLOW_CLIENTS, reads=False)
        await self._order(self._slow, order)
        talking = asyncio.create_task(self._talk(CHAT_SECONDS))
        readings = [before]
        while readings[-1].live > CONNECTIONS or len(readings) < 10:  # noqa: PLR2004
            if time.monotonic() - began > ENDED_SECONDS:
                raise ServerUnavailable("clients that do not read were not ended")
            await asyncio.sleep(0.5)
            readings.append(await self._ask())
        ended = time.monotonic() - began
        yield _delays(f"the same, with {SLOW_CLIENTS} clients that do not read", await talking)
        unsent = max(each.largest for each in readings) / _KB
        held = max(each.memory - before.memory for each in readings) / SLOW_CLIENTS / _KB
        yield Figure(
            "a client that does not read", "KB",
            {"largest buffer of the gateway": [unsent], "resident memory of the gateway": [held]},
            [Target("largest buffer of the gateway", 1_100, direction="at_most")],
        )  # fmt: skip
        yield Figure(
            "connections of other clients that ended so far", "connections",
            {"all": [float(self._broken)]}, [Target("all", 0, direction="at_most")],
        )  # fmt: skip
        yield Figure(
            f"{SLOW_CLIENTS} clients that do not read, until the last is ended", "s",
            {"all": [ended]}, [Target("all", 30, direction="at_most")],
        )  # fmt: skip

    async def _drain(self) -> AsyncIterator[Figure]:
        await self._order(self._clients, ClientsOrder("report"))
        with AnsweringProcess(self._other, "benchmarks.live_gateway"):
            await until_up(self._other, self._http)
            talking = asyncio.create_task(self._say(30, Door(self._other, self._http)))
            await asyncio.sleep(2)
            asked = time.monotonic()
            self._gateway.terminate()
            sent = await talking
            reading = await self._all_arrived(sent)
        ends = [at - asked for at, code in reading.ends if code == 1012]  # noqa: PLR2004
        if len(ends) != CONNECTIONS or reading.open != CONNECTIONS:
            raise ServerUnavailable(f"{len(ends)} clients were sent elsewhere")
        yield Figure(
            f"an ending gateway with {CONNECTIONS:,} clients", "s",
            {"until the last is sent elsewhere": [max(ends)]},
        )  # fmt: skip
        yield Figure(
            "clients sent elsewhere in a second", "clients",
            {"most": [float(max(Counter(int(at) for at in ends).values()))]},
        )  # fmt: skip
        yield _delays("from the end of a connection to the next one", reading.resumed)
        yield _lost(sent, reading.arrivals)


def _lost(sent: dict[tuple[str, int], float], arrivals: list[ClientArrival]) -> Figure:
    found: defaultdict[tuple[str, int], int] = defaultdict(int)
    for each in arrivals:
        found[each.conv_id, each.seq] += 1
    lost = sum(max(0, 2 - found[place]) for place in sent)
    doubled = sum(max(0, found[place] - 2) for place in sent)
    targets = [Target(name, 0, direction="at_most") for name in ("lost", "doubled")]
    return Figure(
        f"deliveries of {len(sent):,} messages meanwhile", "deliveries",
        {"lost": [float(lost)], "doubled": [float(doubled)]}, targets,
    )  # fmt: skip


def _delays(name: str, seconds: list[float]) -> Figure:
    ordered = sorted(seconds)
    at = {"p50": len(ordered) // 2, "p99": int(len(ordered) * 0.99), "max": -1}
    return Figure(name, "ms", {key: [ordered[place] * _MS] for key, place in at.items()})


def figures() -> Iterator[Figure]:
    """All figures of one run."""
    (port,) = free_ports(1)
    with deployment_with_store() as settings, stages(settings):
        send(settings, live_commands())
        other = settings.model_copy(update={"gateway_port": port})
        with asyncio.Runner() as runner:
            http = runner.run(_session())
            steps = LiveRun(settings, other, http).figures()
            try:
                while (figure := runner.run(anext(steps, None))) is not None:
                    yield figure
            finally:
                runner.run(steps.aclose())
                runner.run(http.close())


async def _session() -> ClientSession:
    return ClientSession(timeout=ClientTimeout(total=30))


if __name__ == "__main__":
    for _figure in figures():
        print(report.line(_figure), flush=True)
