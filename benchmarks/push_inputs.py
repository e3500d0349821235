"""The costs of the inputs of the push stage.

    python -m benchmarks.push_inputs memory         addresses of a million devices in the stage
    python -m benchmarks.push_inputs connections    records of 2,000 live connections of a gateway

The second one starts a Kafka.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from backends.kafka.user_records import push_device_record
from benchmarks.deployment import deployment
from gateway.contacts.address_log import LiveProducer
from gateway.contacts.connection_records import ConnectionRecords
from gateway.contacts.record_producer import RecordProducer
from schemas.live_people import LIVE_RENEWAL, LIVE_TTL
from schemas.number_types import Milliseconds
from schemas.push_addresses import WebPushAddress
from schemas.push_devices import PushDevice
from schemas.settings import Settings
from sinks.push.address_reader import AddressBook
from sinks.push.live_reader import LiveBook
from tests.support.servers import addresses, private_folder, private_stack

DEVICES: Final = 1_000_000
CONNECTIONS: Final = 2_000
RENEWALS: Final = 20
_SETTLE_SECONDS: Final = 2.0
_ENDPOINT: Final = "https://push.example/wpush/v2/" + "e" * 160
"""As long as the endpoints of browsers."""


def _resident_mib() -> float:
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def measure_memory() -> None:
    """Prints the memory of the addresses, and of as many live people."""
    settings, before = Settings(), _resident_mib()
    book = AddressBook()
    address = WebPushAddress(endpoint=_ENDPOINT, p256dh="B" * 87, auth="a" * 22)
    device = PushDevice(at=Milliseconds(1_764_000_000_000), address=address)
    for number in range(DEVICES):
        record = push_device_record(settings, f"person-{number:029d}", "phone", device)
        book.take(record.key, bytes(bytearray(record.value or b"")))
    with_book = _resident_mib()
    print(f"{len(book):,} devices with Web Push: {with_book - before:.0f} MiB")
    live = LiveBook()
    for number in range(DEVICES):
        key = f"person-{number:029d}\n{'g' * 32}".encode()
        live.take(key, b'{"ttl_ms":60000}', Milliseconds(1_764_000_000_000))
    print(f"{len(live):,} live people: {_resident_mib() - with_book:.0f} MiB")


async def measure_connections(settings: Settings) -> None:
    """Prints the processor time of the records of a gateway."""
    now = [1_000.0]
    producer = RecordProducer(settings)
    producer.start()
    live = ConnectionRecords(LiveProducer(settings, producer, "benchmark"), lambda: now[0])
    with ExitStack() as stack:
        for number in range(CONNECTIONS):
            stack.enter_context(live.connected(f"person-{number:029d}"))
        await asyncio.sleep(_SETTLE_SECONDS)
        begun, spent = time.process_time(), 0.0
        for _ in range(RENEWALS):
            now[0] += LIVE_RENEWAL.total_seconds()
            at = time.perf_counter()
            await live.renew()
            spent = max(spent, time.perf_counter() - at)
            await asyncio.sleep(_SETTLE_SECONDS)
        cost = (time.process_time() - begun) / RENEWALS
    await producer.stop()
    interval = LIVE_RENEWAL.total_seconds()
    print(
        f"{CONNECTIONS:,} live connections, TTL {LIVE_TTL.total_seconds():.0f} s: "
        f"{CONNECTIONS / interval:.0f} records/s, {cost * 1000:.0f} ms of processor time every "
        f"{interval:.0f} s ({cost / interval:.2%} of a core), the longest renewal "
        f"{spent * 1000:.0f} ms"
    )


@contextmanager
def _kafka() -> Iterator[str]:
    """The address of a fresh Kafka."""
    with private_folder() as home:
        shutil.rmtree(home / "data", ignore_errors=True)
        stack = private_stack(home, ["kafka"])
        stack.up()
        try:
            yield addresses(stack)["kafka_bootstrap"]
        finally:
            stack.down()


def main() -> None:
    """Measures one part."""
    parser = ArgumentParser(description="Measure the costs of the inputs of the push stage.")
    parser.add_argument("part", choices=["memory", "connections"])
    if parser.parse_args().part == "memory":
        measure_memory()
    else:
        with _kafka() as bootstrap, deployment(kafka_bootstrap=bootstrap) as settings:
            asyncio.run(measure_connections(settings))


if __name__ == "__main__":
    main()
