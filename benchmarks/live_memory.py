"""The memory of an idle live connection by kind: ``python -m benchmarks.live_memory``.

The gateway traces its allocations, so its memory is larger and its times are longer than those of
the gateway in `benchmarks.live_connections`. The figure is the growth of the traced allocations,
divided by the connections. The difference to the resident memory is overhead of the allocator. The
kernel's buffers of an idle connection are empty.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Final

from aiohttp import ClientSession

from benchmarks import report
from benchmarks.live_clients import ClientsOrder, ClientsReading
from benchmarks.live_gateway import GatewayReading
from benchmarks.live_pipeline import AnsweringProcess, deployment_with_store, until_up
from benchmarks.results import Figure
from schemas.settings import Settings

CLIENTS: Final = 300
_WARM_UP: Final = 20
_SETTLE_SECONDS: Final = 7.0
"""The connections have reviewed their conversations twice by then."""


def figures() -> Iterator[Figure]:
    """The memory of a connection by the module that has allocated it."""
    with deployment_with_store() as settings:
        yield _measure(settings)


def _measure(settings: Settings) -> Figure:
    with (
        AnsweringProcess(settings, "benchmarks.live_gateway", PYTHONTRACEMALLOC="1") as gateway,
        AnsweringProcess(
            settings, "benchmarks.live_clients", str(settings.gateway_port)
        ) as clients,
    ):
        asyncio.run(_until_up(settings))
        clients.ask(ClientsOrder("connect", "w", 0, _WARM_UP), ClientsReading)
        before = gateway.ask(None, GatewayReading).traced
        clients.ask(ClientsOrder("connect", "u", 0, CLIENTS), ClientsReading)
        time.sleep(_SETTLE_SECONDS)
        after = gateway.ask(None, GatewayReading).traced
    grown = {kind: (after[kind] - before.get(kind, 0)) / CLIENTS / 1000 for kind in after}
    return Figure(
        f"memory of one of {CLIENTS} idle live connections, by the module that allocates it", "KB",
        {kind: [size] for kind, size in grown.items()} | {"all": [sum(grown.values())]},
    )  # fmt: skip


async def _until_up(settings: Settings) -> None:
    async with ClientSession() as http:
        await until_up(settings, http)


if __name__ == "__main__":
    for _figure in figures():
        print(report.line(_figure))
