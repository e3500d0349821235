"""Where a topic for each recipient stops being sensible: ``python -m benchmarks.sync_layouts``.

Both layouts do the same work in turns, for more and more recipients in groups of ten. One worker
sequences messages, then one sink stores their sync records. The environment names Kafka and
Cassandra.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from backends.cassandra.session import cassandra_session
from backends.kafka.clients import admin_client, consumer_config, create_topics, producer_config
from backends.kafka.groups import committed_places
from backends.sync_layout.recipient_topics import make_recipients
from backends.sync_layout.topic_creation import places_of
from benchmarks.worker import worker
from benchmarks.workload import FLUSH_SECONDS, TEXT
from schemas.codec import encode
from schemas.errors import ServerUnavailable
from schemas.ids import uuid7
from schemas.records import AnyCommand, CreateConversation, SendMessage, TextContent
from schemas.settings import Settings
from schemas.topics import Topic

RECIPIENTS: Final = (10, 100, 500, 1_000, 2_000)
LAYOUTS: Final = ("sharded", "topic-per-recipient")
FAN_OUT: Final = 10
MESSAGES: Final = 10_000

_RUN_SECONDS: Final = 300.0
_LOOK_SECONDS: Final = 0.1


class Figures(NamedTuple):
    """Durations in seconds."""

    topics: float
    first: float
    sequenced: float
    stored: float


def main() -> None:
    """Prints a line for each number of recipients and layout."""
    print(
        f"{MESSAGES:,} messages at fan-out {FAN_OUT}; seconds. topics: to make them. first: to "
        "sequence the creation of all groups, from the start of the worker. stored: from the "
        "start of the sink."
    )
    for recipients in RECIPIENTS:
        for layout in LAYOUTS:
            found = measure(recipients, layout)
            print(
                f"{recipients:5,} recipients, {layout:19}: topics {found.topics:5.1f}, "
                f"first {found.first:5.1f}, sequenced {found.sequenced:6.1f} "
                f"({MESSAGES / found.sequenced:7,.0f} messages/s), stored {found.stored:6.1f} "
                f"({MESSAGES * FAN_OUT / found.stored:7,.0f} records/s)",
                flush=True,
            )


def measure(recipients: int, layout: str) -> Figures:
    """Measures one fresh deployment."""
    settings = Settings.model_validate(
        {
            "namespace": f"bench-{secrets.token_hex(4)}",
            "partitions": 2,
            "sync_layout": layout,
            "sync_topics_limit": max(RECIPIENTS),
        }
    )
    admin = admin_client(settings)
    create_topics(settings)
    try:
        return _measure(settings, admin, recipients)
    finally:
        names = [t for t in admin.list_topics().topics if t.startswith(settings.namespace + ".")]
        for answer in admin.delete_topics(names, request_timeout=_RUN_SECONDS).values():
            answer.result(_RUN_SECONDS)
        with cassandra_session(settings) as session:
            session.execute(f"DROP KEYSPACE IF EXISTS {settings.keyspace}", timeout=60)


def _measure(settings: Settings, admin: AdminClient, recipients: int) -> Figures:
    groups = [
        [f"user-{first + n}" for n in range(FAN_OUT)] for first in range(0, recipients, FAN_OUT)
    ]
    begin = time.monotonic()
    if settings.sync_layout != LAYOUTS[0]:
        make_recipients(settings, [user for group in groups for user in group])
    topics = time.monotonic() - begin
    _publish(settings, _creations(groups))
    begin = time.monotonic()
    with worker(settings, "stream_processors"):
        first = _until_done(settings, admin, "sequencer", Topic.MESSAGES, begin)
        begin = time.monotonic()
        _publish(settings, _messages(groups))
        sequenced = _until_done(settings, admin, "sequencer", Topic.MESSAGES, begin)
    begin = time.monotonic()
    with worker(settings, "sinks", "sync"):
        stored = _until_done(settings, admin, "sink-sync", Topic.SYNC, begin)
    return Figures(topics, first, sequenced, stored)


def _creations(groups: Sequence[Sequence[str]]) -> Iterator[AnyCommand]:
    for number, group in enumerate(groups):
        yield CreateConversation(
            conv_id=f"conv-{number}", sender=group[0], device_id="bench",
            client_msg_id=uuid7(0, number), members=list(group),
        )  # fmt: skip


def _messages(groups: Sequence[Sequence[str]]) -> Iterator[AnyCommand]:
    for number in range(MESSAGES):
        turn, at = divmod(number, len(groups))
        yield SendMessage(
            conv_id=f"conv-{at}", sender=groups[at][turn % FAN_OUT], device_id="bench",
            client_msg_id=uuid7(1 + number, number), content=TextContent(text=TEXT),
        )  # fmt: skip


def _publish(settings: Settings, commands: Iterator[AnyCommand]) -> None:
    producer = Producer(producer_config(settings) | {"linger.ms": 20})
    for command in commands:
        producer.produce(settings.topic(Topic.MESSAGES), encode(command), command.conv_id)
    if producer.flush(FLUSH_SECONDS):
        raise TimeoutError(f"the broker did not take all commands in {FLUSH_SECONDS:.0f} s")


def _until_done(
    settings: Settings, admin: AdminClient, stage: str, topic: Topic, begin: float
) -> float:
    """Seconds from ``begin`` until a stage has committed all records that its topic has now."""
    consumer = Consumer(consumer_config(settings, settings.group(stage)))
    places = list(places_of(admin, settings, topic).values())
    ends = [consumer.get_watermark_offsets(place, timeout=10)[1] for place in places]
    deadline = time.monotonic() + _RUN_SECONDS
    while time.monotonic() < deadline:
        done = committed_places(consumer, places)
        if all(max(0, p.offset) >= end for p, end in zip(done, ends, strict=True)):
            consumer.close()
            return time.monotonic() - begin
        time.sleep(_LOOK_SECONDS)
    raise ServerUnavailable(f"{stage} has not done all of {topic.name} in time")


if __name__ == "__main__":
    main()
