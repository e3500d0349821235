"""How many sync records a second one ``sink-sync`` stores: ``python -m benchmarks.sync_sink``.

Rows of one recipient share a request, so it depends on how many people are written to at a time.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Final

from confluent_kafka import Consumer, Producer

from backends.cassandra import cassandra_session
from backends.groups import committed_places
from backends.kafka import (
    admin_client,
    consumer_config,
    create_topics,
    new_topics,
    producer_config,
    topic_partitions,
)
from benchmarks.worker import worker
from benchmarks.workload import FLUSH_SECONDS, TEXT
from schemas.codec import encode
from schemas.errors import ServerUnavailable
from schemas.records import MessageSent, TextContent
from schemas.settings import Settings
from schemas.topics import Topic

RECORDS: Final = 600_000
MEMBERS: Final = 140
CONVERSATIONS: Final = (8, 80)
"""In which people talk at the same time."""

_RUN_SECONDS: Final = 300.0


def main() -> None:
    """Prints a line for each number of conversations."""
    for conversations in CONVERSATIONS:
        rate = measure(conversations)
        print(f"{conversations * MEMBERS:6,} recipients at a time: {rate:9,.0f} records/s")


def measure(conversations: int) -> float:
    """Records a second of one fresh sink over one fresh topic, from its first commit on."""
    settings = Settings(namespace=f"bench-{secrets.token_hex(4)}")
    create_topics(settings)
    try:
        fill(settings, conversations)
        with worker(settings, "sinks", "sync"):
            return _rate(settings)
    finally:
        admin_client(settings).delete_topics([topic.topic for topic in new_topics(settings)])
        with cassandra_session(settings) as session:
            session.execute(f"DROP KEYSPACE IF EXISTS {settings.keyspace}")


def fill(settings: Settings, conversations: int) -> None:
    """Appends what a sequencer would for messages to one conversation after the other."""
    producer = Producer(
        producer_config(settings) | {"queue.buffering.max.messages": 1_000_000, "linger.ms": 20}
    )
    topic = settings.topic(Topic.SYNC)
    for recipient, value in _fanned_out(conversations):
        producer.produce(topic, value, recipient)
    if producer.flush(FLUSH_SECONDS):
        raise TimeoutError(f"the broker did not take all records in {FLUSH_SECONDS:.0f} s")


def _fanned_out(conversations: int) -> Iterator[tuple[str, bytes]]:
    for number in range(RECORDS // MEMBERS):
        seq, conversation = divmod(number, conversations)
        sent = MessageSent(
            conv_id=f"conv-{conversation}", seq=seq + 1, sender="ann", client_msg_id="bench",
            at=int(time.time() * 1000), content=TextContent(text=TEXT), mentions=[],
        )  # fmt: skip
        value = encode(sent)
        yield from ((f"user-{conversation}-{n}", value) for n in range(MEMBERS))


def _rate(settings: Settings) -> float:
    consumer = Consumer(consumer_config(settings, settings.group("sink-sync")))
    places = topic_partitions(settings, Topic.SYNC)
    total = RECORDS // MEMBERS * MEMBERS

    def stored() -> int:
        return sum(max(0, p.offset) for p in committed_places(consumer, places))

    deadline = time.monotonic() + _RUN_SECONDS
    begun, began = 0, 0.0
    while time.monotonic() < deadline:
        now = stored()
        if now and not begun:
            begun, began = now, time.monotonic()
        if now == total:
            return (total - begun) / (time.monotonic() - began)
        time.sleep(0.1)
    raise ServerUnavailable(f"only {stored()} of {total} records were stored in time")


if __name__ == "__main__":
    main()
