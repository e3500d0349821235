"""A deployment for one measurement, and a consumer of a part of its records."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Any, NamedTuple

from confluent_kafka import Consumer, TopicPartition

from backends.kafka.clients import (
    REQUEST_SECONDS,
    admin_client,
    consumer_config,
    create_topics,
    new_topics,
)
from schemas.codec import decode_position
from schemas.recipients import recipients_of
from schemas.settings import Settings
from schemas.topics import Topic


@contextmanager
def deployment(**overrides: Any) -> Iterator[Settings]:
    """A deployment in its own namespace, with its topics; the topics are removed at the end."""
    settings = Settings(namespace=f"bench-{secrets.token_hex(4)}", **overrides)
    create_topics(settings)
    try:
        yield settings
    finally:
        admin = admin_client(settings)
        deleted = admin.delete_topics([topic.topic for topic in new_topics(settings)])
        for future in deleted.values():
            future.result(REQUEST_SECONDS)


@contextmanager
def following(settings: Settings, shard: int) -> Iterator[Consumer]:
    """A consumer of all committed records of one shard of the sync timelines."""
    consumer = Consumer(consumer_config(settings, settings.group("follow")))
    consumer.assign([TopicPartition(settings.topic(Topic.SYNC), shard, 0)])
    try:
        yield consumer
    finally:
        consumer.close()


class Arrival(NamedTuple):
    """An entry that a recipient received, and the time of its arrival by `time.perf_counter`."""

    conv_id: str
    seq: int
    at: float


def arrivals(
    consumer: Consumer, recipients: AbstractSet[bytes], seconds: float
) -> Iterator[Arrival]:
    """The entries that some recipients receive within this number of seconds, each entry once.

    Polls records one by one: `consume` would wait until its batch is full, and the wait would be
    measured.
    """
    end = time.perf_counter() + seconds
    while (left := end - time.perf_counter()) > 0:
        message = consumer.poll(min(left, 0.5))
        at = time.perf_counter()
        if message is None or message.error() is not None:
            continue
        if not recipients.isdisjoint(recipients_of(message.key() or b"")):
            position = decode_position(message.value())
            yield Arrival(position.conv_id, position.seq, at)
