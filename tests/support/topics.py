"""Writes to topics, and reads them whole, the way an outsider would."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from backends.groups import committed_places
from backends.kafka import (
    consumer_config,
    producer_config,
    topic_partitions,
)
from schemas.codec import decode_entry, decode_sync_record, encode
from schemas.records import AnyCommand, AnyEntry, AnySyncRecord
from schemas.settings import Settings
from schemas.topics import Topic

READ_SECONDS: Final = 60.0


def publish(settings: Settings, commands: Iterable[AnyCommand]) -> None:
    """Appends commands to the source topic, and waits until the broker has them."""
    publish_raw(settings, [(c.conv_id.encode(), encode(c)) for c in commands])


def publish_raw(settings: Settings, records: Iterable[tuple[bytes | None, bytes | None]]) -> None:
    """Appends any (key, value) to the source topic, and waits until the broker has them."""
    producer = Producer(producer_config(settings) | {"message.max.bytes": 4_000_000})
    for key, value in records:
        producer.produce(settings.topic(Topic.MESSAGES), value, key)
    assert producer.flush(READ_SECONDS) == 0


def read_all(settings: Settings, topic: Topic) -> list[Message]:
    """All committed records of a topic as of now, partition by partition."""
    consumer = Consumer(
        consumer_config(settings, settings.group("reader")) | {"enable.partition.eof": True}
    )
    places = topic_partitions(settings, topic)
    consumer.assign([TopicPartition(p.topic, p.partition, 0) for p in places])
    found: list[Message] = []
    open_partitions = {place.partition for place in places}
    deadline = time.monotonic() + READ_SECONDS
    while open_partitions:
        assert time.monotonic() < deadline, f"{topic} cannot be read"
        for message in consumer.consume(10_000, 0.2):
            if message.error() is None:
                found.append(message)
            else:
                open_partitions.discard(message.partition() or 0)
    consumer.close()
    return sorted(found, key=lambda message: (message.partition() or 0, message.offset() or 0))


def timelines(settings: Settings) -> dict[str, list[AnyEntry]]:
    """All entries, by conversation."""
    found: dict[str, list[AnyEntry]] = {}
    for message in read_all(settings, Topic.TIMELINE):
        entry = decode_entry(message.value())
        found.setdefault(entry.conv_id, []).append(entry)
    return found


def sync_timelines(settings: Settings) -> dict[str, list[AnySyncRecord]]:
    """All sync records, by recipient."""
    found: dict[str, list[AnySyncRecord]] = {}
    for message in read_all(settings, Topic.SYNC):
        recipient = (message.key() or b"").decode()
        found.setdefault(recipient, []).append(decode_sync_record(message.value()))
    return found


def committed(settings: Settings, stage: str, topic: Topic) -> dict[int, TopicPartition]:
    """What a stage has committed, by partition."""
    consumer = Consumer(consumer_config(settings, settings.group(stage)))
    places = committed_places(consumer, topic_partitions(settings, topic))
    consumer.close()
    return {place.partition: place for place in places if place.offset >= 0}


def is_caught_up(settings: Settings, stage: str, topic: Topic) -> bool:
    """Whether a stage has committed all that is on its topic now."""
    consumer = Consumer(consumer_config(settings, settings.group(stage)))
    places = committed_places(consumer, topic_partitions(settings, topic))
    ends = [consumer.get_watermark_offsets(place, timeout=READ_SECONDS)[1] for place in places]
    consumer.close()
    return all(max(p.offset, 0) >= end for p, end in zip(places, ends, strict=True))
