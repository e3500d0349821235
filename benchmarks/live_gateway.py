"""A gateway under measurement: ``python -m benchmarks.live_gateway``.

This is the gateway of `python -m gateway` with two additions. Its log tail counts the records that
it has read, and notes the age of each batch. Each line on the standard input is answered with one
line on the standard output, a `GatewayReading` in JSON.
"""

from __future__ import annotations

import gc
import sys
import time
import tracemalloc
from threading import Thread
from typing import Final
from unittest.mock import patch

import psutil
from confluent_kafka import Message
from msgspec import Struct, json

from gateway import __main__ as gateway
from gateway.http import http_app
from gateway.http.connection import Connection
from gateway.log.log_tail import LogTail

_KINDS: Final = ("asyncio", "aiohttp", "gateway")
_OTHERS: Final = "others"


class TailReading(Struct):
    """The records that the log tail has read since the last reading.

    ``oldest``: the greatest time from the timestamp of a record to the end of its batch, in
    milliseconds. ``cpu``: processor time of its thread since the start, in seconds.
    """

    records: int = 0
    oldest: float = 0.0
    cpu: float = 0.0


class GatewayReading(Struct):
    """The state of the process.

    ``memory``: resident bytes. ``cpu``: processor time of all threads since the start, in seconds.
    ``live``: live connections. ``largest``: the largest of their write buffers, in bytes, outside
    of the kernel. ``traced``: bytes by the module that has allocated them, if the process traces.
    """

    memory: int
    cpu: float
    live: int
    largest: int
    tail: TailReading
    traced: dict[str, int]


class CountedTail(LogTail):
    """A log tail that counts what it reads."""

    reading = TailReading()

    def _take(self, messages: list[Message]) -> None:
        super()._take(messages)
        reading = CountedTail.reading
        reading.records += len(messages)
        if messages:
            age = time.time() * 1000 - messages[0].timestamp()[1]
            reading.oldest = max(reading.oldest, age)

    def _run(self) -> None:
        CountedTail.native_id = self._thread.native_id
        super()._run()

    native_id: int | None = None


def _reading() -> GatewayReading:
    process = psutil.Process()
    tail, CountedTail.reading = CountedTail.reading, TailReading()
    tail.cpu = sum(
        each.user_time + each.system_time
        for each in process.threads()
        if each.id == CountedTail.native_id
    )
    buffers = _buffers()
    spent = process.cpu_times()
    return GatewayReading(
        memory=process.memory_info().rss,
        cpu=spent.user + spent.system,
        live=len(buffers),
        largest=max(buffers, default=0),
        tail=tail,
        traced=_traced(),
    )


def _buffers() -> list[int]:
    """The bytes in the write buffer of each live connection."""
    connections = [each for each in gc.get_objects() if isinstance(each, Connection)]
    wires = [each.transport for each in connections if each._frames is not None]  # noqa: SLF001
    return [wire.get_write_buffer_size() for wire in wires if wire is not None]


def _traced() -> dict[str, int]:
    """The traced allocations of each kind. Nothing without ``PYTHONTRACEMALLOC``."""
    if not tracemalloc.is_tracing():
        return {}
    gc.collect()
    sizes = dict.fromkeys((*_KINDS, _OTHERS), 0)
    for each in tracemalloc.take_snapshot().statistics("filename"):
        path = each.traceback[0].filename
        sizes[next((kind for kind in _KINDS if f"/{kind}/" in path), _OTHERS)] += each.size
    return sizes


def _answer() -> None:
    for _ in sys.stdin:
        sys.stdout.write(json.encode(_reading()).decode() + "\n")
        sys.stdout.flush()


def main() -> int:
    """Runs the gateway."""
    Thread(target=_answer, daemon=True).start()
    with patch.object(http_app, "LogTail", CountedTail):
        return gateway.main()


if __name__ == "__main__":
    sys.exit(main())
