"""Messages by ``POST`` through one gateway process, with the load generator on the same cores.

1. The delay from the begin of a ``POST`` to the arrival on the recipient's live connection, at a
   steady rate, while the whole path runs: sequencer, message sink, sync sink, gateway. Each of the
   conversations has a sender and a recipient, and each recipient has a live connection.
2. The messages a second that the gateway answers with 201 to clients that post one message after
   the other, and the processor time for a message. Other programs change the first, and hardly the
   second.

Every message must arrive, and every response must be a 201. IM_KAFKA_BOOTSTRAP and
IM_CASSANDRA_HOSTS name the servers; searches need another server and another sink, which do not
run. ``python -m benchmarks posting``.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, NamedTuple

import psutil
from aiohttp import ClientSession
from pydantic import SecretStr

from backends.cassandra.session import cassandra_session
from backends.identity.log_identity import check_log
from backends.identity.store_claim import claim_store
from benchmarks.deployment import deployment
from benchmarks.posting_clients import PostingConnection, Recipients
from benchmarks.results import Figure, Target
from benchmarks.worker import worker
from devstack.ports import free_ports
from schemas.settings import Settings

RATE: Final = 500
"""Messages a second in the measurement of the delay."""
PAIRS: Final = 100
"""Conversations of two people, with as many live connections."""
WARM_UP_SECONDS: Final = 20
"""The JVMs of the servers are still compiling their code."""
SECONDS: Final = 10
ROUNDS: Final = 5
CLIENTS: Final = 64
"""Connections that post without a pause."""

FEW_PARTITIONS: Final = 2
"""Partitions of the second variant: one for each core of a small machine."""

_SLOW: Final = (
    "both cores are busy, the broker with a request for each partition of a transaction; next: "
    "one request for all partitions (librdkafka issue 1700)"
)
_FEW: Final = (
    "a POST takes some 600 µs of the gateway's processor time, the worker's, and more than both "
    "of the broker's; next: one request for all partitions (librdkafka issue 1700)"
)

_TARGETS: Final = [
    Target("p50", 25, direction="at_most", if_missed=_SLOW),
    Target("p99", 80, direction="at_most", if_missed=_SLOW),
]

SECRET: Final = "a secret of the benchmarks, of 32 bytes"  # noqa: S105 - protects nothing
_START_SECONDS: Final = 60.0
_ARRIVAL_SECONDS: Final = 60.0


def figures() -> Iterator[Figure]:
    """The delay with its percentiles as variants, and the rate with and without sinks."""
    few = {"partitions": FEW_PARTITIONS, "sync_partitions": FEW_PARTITIONS}
    with _deployed(("message", "sync")) as deployed:
        yield _delay_figure("", asyncio.run(_delay(deployed.settings)), _TARGETS)
        with_sinks = asyncio.run(_rounds(deployed))
    with _deployed(("message", "sync"), **few) as deployed:
        name = f", {FEW_PARTITIONS} partitions"
        yield _delay_figure(name, asyncio.run(_delay(deployed.settings)), [])
    with _deployed(()) as deployed:
        alone = asyncio.run(_rounds(deployed))
    with _deployed((), **few) as deployed:
        alone_with_few = asyncio.run(_rounds(deployed))
    yield Figure(
        "POST answered with 201, one gateway process",
        "messages/s",
        {
            "gateway and sequencer": [each.rate for each in alone],
            "with both sinks": [each.rate for each in with_sinks],
            f"gateway and sequencer, {FEW_PARTITIONS} partitions": [
                each.rate for each in alone_with_few
            ],
        },
        [Target("gateway and sequencer", 1_500, if_missed=_FEW)],
    )
    yield Figure(
        "processor time for a POST answered with 201, without sinks",
        "µs",
        {name: [each.micros[name] for each in alone] for name in alone[0].micros},
    )


class Deployed(NamedTuple):
    """A running deployment, and its processes whose processor time counts, by name."""

    settings: Settings
    processes: dict[str, psutil.Process]


class Round(NamedTuple):
    """Messages a second, and by process the processor time in microseconds for a message."""

    rate: float
    micros: dict[str, float]


@contextmanager
def _deployed(sinks: tuple[str, ...], **overrides: int) -> Iterator[Deployed]:
    """A running deployment without limits of commands, with these sinks."""
    with deployment(**overrides) as plain, ExitStack() as stack:
        settings = plain.model_copy(
            update={"gateway_port": free_ports(1)[0], "jwt_secret": SecretStr(SECRET)}
        )
        with cassandra_session(settings) as session:
            claim_store(session, settings, check_log(settings))
        limits = ("COMMANDS_PER_SECOND", "CONVERSATION_COMMANDS_PER_SECOND", "ADDITIONS_PER_HOUR")
        environment = {f"IM_HTTP_{name}": "1000000" for name in limits} | {
            "IM_GATEWAY_PORT": str(settings.gateway_port),
            "IM_JWT_SECRET": SECRET,
            "IM_WRITE_WAIT": "PT8S",
        }
        for name in sinks:
            stack.enter_context(worker(settings, "sinks", name, environment=environment))
        processes = {"load generator": psutil.Process()}
        for module in ("stream_processors", "gateway"):
            running = worker(settings, module, environment=environment)
            processes[module] = psutil.Process(stack.enter_context(running).pid)
        yield Deployed(settings, processes)
        with cassandra_session(settings) as session:
            session.execute(f"DROP KEYSPACE {settings.keyspace}", timeout=60)


async def _delay(settings: Settings) -> dict[str, list[float]]:
    """The percentiles of each round in milliseconds, by name."""
    rounds: dict[str, list[float]] = {"p50": [], "p99": []}
    async with ClientSession() as http:
        senders = await _begin(settings, http)
        async with Recipients(settings, http, PAIRS) as recipients:
            await _steady(senders, recipients, WARM_UP_SECONDS)
            for _ in range(ROUNDS):
                delays = sorted(await _steady(senders, recipients, SECONDS))
                rounds["p50"].append(statistics.median(delays) * 1000)
                rounds["p99"].append(delays[int(len(delays) * 0.99)] * 1000)
        for sender in senders:
            sender.close()
    return rounds


def _delay_figure(variant: str, rounds: dict[str, list[float]], targets: list[Target]) -> Figure:
    name = f"POST to arrival on a live connection at {RATE} messages/s{variant}"
    return Figure(name, "ms", rounds, targets)


async def _begin(settings: Settings, http: ClientSession) -> list[PostingConnection]:
    """A connection of each sender, whose conversation exists."""
    await _await_gateway(settings, http)
    senders = [PostingConnection(settings, number) for number in range(PAIRS)]
    for sender in senders:
        await sender.open()
        await sender.create()
    return senders


async def _await_gateway(settings: Settings, http: ClientSession) -> None:
    address = f"http://{settings.gateway_host}:{settings.gateway_port}/healthz"
    async with asyncio.timeout(_START_SECONDS):
        while True:
            try:
                async with http.get(address) as response:
                    if (await response.json())["status"] in {"ok", "degraded"}:
                        return
            except OSError:
                pass
            await asyncio.sleep(0.2)


async def _steady(
    senders: list[PostingConnection], recipients: Recipients, seconds: int
) -> list[float]:
    """Posts at the steady rate; returns the delay of each message in seconds.

    The clock of a message starts at its time in the schedule, also if the generator is late.
    """
    count, begin = RATE * seconds, recipients.count
    start = time.perf_counter() + 0.1
    due = [start + number / RATE for number in range(count)]

    async def post(sender: int) -> None:
        for number in range(sender, count, PAIRS):
            await asyncio.sleep(due[number] - time.perf_counter())
            await senders[sender].send(f"m{begin + number}")

    await asyncio.gather(*(post(sender) for sender in range(PAIRS)))
    async with asyncio.timeout(_ARRIVAL_SECONDS):
        arrived = await recipients.all_up_to(begin + count)
    return [arrived[begin + number] - due[number] for number in range(count)]


async def _rounds(deployed: Deployed) -> list[Round]:
    """The rounds after a warm-up."""
    async with ClientSession() as http:
        senders = await _begin(deployed.settings, http)
    found = [
        await _round(senders[:CLIENTS], deployed.processes, seconds)
        for seconds in (WARM_UP_SECONDS // 2, *([SECONDS // 2] * ROUNDS))
    ]
    for sender in senders:
        sender.close()
    return found[1:]


async def _round(
    senders: list[PostingConnection], processes: dict[str, psutil.Process], seconds: int
) -> Round:
    start, before = time.perf_counter(), _processor_seconds(processes)
    posting = (_post_until(sender, start + seconds) for sender in senders)
    count = sum(await asyncio.gather(*posting))
    took, after = time.perf_counter() - start, _processor_seconds(processes)
    return Round(
        count / took, {name: (after[name] - before[name]) / count * 1e6 for name in after}
    )


def _processor_seconds(processes: dict[str, psutil.Process]) -> dict[str, float]:
    times = {name: process.cpu_times() for name, process in processes.items()}
    return {name: each.user + each.system for name, each in times.items()}


async def _post_until(sender: PostingConnection, end: float) -> int:
    count = 0
    while time.perf_counter() < end:
        await sender.send("The quick brown fox jumps over the lazy dog.")
        count += 1
    return count
