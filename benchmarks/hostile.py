"""The memory that the largest records take in a worker: ``python -m benchmarks.hostile``.

Sends several kinds of records to 8 partitions, each kind followed by a command that must be
sequenced. Prints the worker's highest resident memory after each kind.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, Producer

from backends.kafka.clients import consumer_config, producer_config, topic_partitions
from backends.kafka.groups import committed_places
from benchmarks.deployment import deployment
from schemas.codec import encode
from schemas.ids import uuid7
from schemas.records import CreateConversation
from schemas.settings import Settings
from schemas.topics import Topic

LARGEST: Final = 4_190_000
BOMB: Final = 60_000_000
SECONDS: Final = 300.0

Record = tuple[bytes, list[tuple[str, bytes]]]
"""The value and the headers of a record."""


def kinds() -> Iterable[tuple[str, str, list[Record]]]:
    """Name, codec, and records of each kind. The records go to every partition."""
    name = b'"%06d",'
    names = b"".join(name % number for number in range(LARGEST // 9 - 100))
    command = (
        b'{"kind":"add_members","conv_id":"c","sender":"s","device_id":"d","client_msg_id":"'
        + uuid7(1, 1).encode()
        + b'","members":['
        + names[:-1]
        + b"]}"
    )
    yield "a command of 4 MiB, 460,000 names", "none", [(command, [])]
    yield "20 of them", "none", [(command, [])] * 20
    yield "a bomb of 60 MB, zstd", "zstd", [(bytes(BOMB), [])]
    yield "20 bombs, gzip", "gzip", [(bytes(BOMB), [])] * 20
    yield "900,000 headers", "zstd", [(b"x", [("", b"")] * 900_000)]
    yield "50 values of 1 MB", "none", [(os.urandom(1_000_000), [])] * 50


def highest(process: int) -> int:
    """The highest resident memory of a process in MB."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


def send(settings: Settings, codec: str, records: list[Record]) -> None:
    """Appends records to each partition, and waits until the broker has them."""
    config = {"compression.type": codec, "message.max.bytes": 100_000_000}
    producer = Producer(producer_config(settings) | config)
    for partition in range(settings.partitions):
        for value, headers in records:
            producer.produce(
                settings.topic(Topic.MESSAGES), value, b"c", partition, headers=list(headers)
            )
            producer.flush(SECONDS)


def create(settings: Settings, conv_id: str) -> None:
    """Appends a valid command to its partition."""
    command = CreateConversation(
        conv_id=conv_id, sender="s", device_id="d", client_msg_id=uuid7(1, 1), members=[]
    )
    producer = Producer(producer_config(settings))
    producer.produce(settings.topic(Topic.MESSAGES), encode(command), conv_id)
    producer.flush(SECONDS)


def await_all(settings: Settings, worker: subprocess.Popen[bytes]) -> None:
    """Waits until the worker has committed all records on its topic.

    Raises:
        SystemExit: The worker has ended, or takes too long.
    """
    consumer = Consumer(consumer_config(settings, settings.group("sequencer")))
    deadline = time.monotonic() + SECONDS
    while worker.poll() is None and time.monotonic() < deadline:
        places = committed_places(consumer, topic_partitions(settings, Topic.MESSAGES))
        ends = [consumer.get_watermark_offsets(place, timeout=30)[1] for place in places]
        if all(max(p.offset, 0) >= end for p, end in zip(places, ends, strict=True)):
            consumer.close()
            return
        time.sleep(0.2)
    raise SystemExit(f"the worker did not handle the records: {worker.poll()}")


def main() -> None:
    """Measures each kind, one after the other, in one worker."""
    with deployment() as settings:
        env = os.environ | {"IM_NAMESPACE": settings.namespace}
        command = [sys.executable, "-m", "stream_processors"]
        worker = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)  # noqa: S603 - our own module
        try:
            create(settings, "first")
            await_all(settings, worker)
            print(f"at rest: {highest(worker.pid)} MB", flush=True)
            for name, codec, records in kinds():
                begin = time.perf_counter()
                send(settings, codec, records)
                create(settings, name)
                await_all(settings, worker)
                seconds = time.perf_counter() - begin
                print(f"{name}: {highest(worker.pid)} MB, {seconds:.0f} s", flush=True)
        finally:
            worker.terminate()
            worker.wait(60)


if __name__ == "__main__":
    main()
