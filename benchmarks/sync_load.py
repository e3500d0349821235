"""Appends records as the sequencer does, at a steady rate: ``python -m benchmarks.sync_load``.

Each message is one record of the conversation timelines and one record for each shard that has
recipients. The process gets `LoadOrder`s in JSON, one a line, and answers each with a `LoadDone`.
It decides nothing and uses no transactions, so that a small machine can append more than a gateway
reads.
"""

from __future__ import annotations

import random
import sys
import time
from typing import Final, NamedTuple

import msgspec
from confluent_kafka import Producer
from msgspec import Struct

from backends.kafka.clients import partition_of, producer_config
from benchmarks.workload import TEXT
from schemas.codec import encode
from schemas.number_types import Milliseconds, SeqId
from schemas.records import MessageSent, TextContent
from schemas.settings import Settings
from schemas.topics import Topic
from stream_processors.commit.shard_destinations import destinations_in

CONVERSATIONS: Final = 1_000
PEOPLE: Final = 100_000
_TICK_SECONDS: Final = 0.02
_FLUSH_SECONDS: Final = 60.0


class LoadOrder(Struct):
    """Append messages with this number of recipients, at this rate, for some seconds."""

    fan_out: int
    rate: int
    seconds: float


class LoadDone(Struct):
    """The number of appended records, and the seconds that this took."""

    messages: int
    records: int
    seconds: float


class _Place(NamedTuple):
    topic: str
    partition: int
    key: bytes | str


class SyncLoad:
    """Appends the records of conversations with random members.

    Args:
        settings: The deployment.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer = Producer(
            producer_config(settings)
            | {"linger.ms": 5, "queue.buffering.max.messages": 1_000_000, "acks": 1,
               "enable.idempotence": False}
        )  # fmt: skip
        self._seq = 0

    def run(self, order: LoadOrder) -> LoadDone:
        """Appends the messages of an order, to one conversation after the other."""
        conversations = [self._places(number, order.fan_out) for number in range(CONVERSATIONS)]
        began, messages, records = time.monotonic(), 0, 0
        while (spent := time.monotonic() - began) < order.seconds:
            for _ in range(int(spent * order.rate) - messages):
                records += self._append(conversations[messages % CONVERSATIONS])
                messages += 1
            self._producer.poll(0)
            time.sleep(_TICK_SECONDS)
        self._producer.flush(_FLUSH_SECONDS)
        return LoadDone(messages, records, time.monotonic() - began)

    def _places(self, number: int, fan_out: int) -> list[_Place]:
        """The records of a message: the one of the timeline is the first."""
        drawn = random.Random(number)  # noqa: S311 - no secret
        members = [f"person-{each}" for each in drawn.sample(range(PEOPLE), fan_out)]
        conv_id = f"load-{fan_out}-{number}"
        settings = self._settings
        shards = destinations_in(members, settings.topic(Topic.SYNC), settings.sync_partitions)
        timeline = settings.topic(Topic.TIMELINE)
        return [
            _Place(timeline, partition_of(conv_id, settings.partitions), conv_id),
            *(_Place(topic, shard, key) for topic, shard, key in shards),
        ]

    def _append(self, places: list[_Place]) -> int:
        self._seq += 1
        entry = MessageSent(
            conv_id=str(places[0].key), seq=SeqId(self._seq), sender="person-1",
            client_msg_id="load", at=Milliseconds(1), content=TextContent(text=TEXT), mentions=[],
        )  # fmt: skip
        value = encode(entry)
        for topic, partition, key in places:
            while True:
                try:
                    self._producer.produce(topic, value, key, partition)
                    break
                except BufferError:
                    self._producer.poll(0.01)
        return len(places)


def main() -> None:
    """Does orders until the end of the input."""
    load = SyncLoad(Settings())
    for line in sys.stdin:
        done = load.run(msgspec.json.decode(line, type=LoadOrder))
        print(msgspec.json.encode(done).decode(), flush=True)


if __name__ == "__main__":
    main()
