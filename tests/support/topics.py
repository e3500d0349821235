"""Writes to topics, and reads whole topics, as an external client does."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from backends.kafka.clients import (
    admin_client,
    consumer_config,
    producer_config,
)
from backends.kafka.groups import group_places
from backends.kafka.partition_ends import stable_ends
from backends.sync_layout.topic_creation import places_of
from schemas.codec import decode_entry, decode_sync_record, encode
from schemas.recipients import recipients_of
from schemas.records import AnyCommand, AnyEntry, AnySyncRecord
from schemas.settings import Settings
from schemas.topics import Topic

READ_SECONDS: Final = 180.0


def publish(settings: Settings, commands: Iterable[AnyCommand]) -> None:
    """Appends commands to the source topic, and waits until the broker has them."""
    publish_raw(settings, [(c.conv_id.encode(), encode(c)) for c in commands])


def publish_raw(
    settings: Settings,
    records: Iterable[tuple[bytes | None, bytes | None]],
    topic: Topic = Topic.MESSAGES,
) -> None:
    """Appends any (key, value) to a topic, and waits until the broker has them."""
    producer = Producer(producer_config(settings) | {"message.max.bytes": 4_000_000})
    for key, value in records:
        producer.produce(settings.topic(topic), value, key)
    assert producer.flush(READ_SECONDS) == 0


def read_all(settings: Settings, topic: Topic) -> list[Message]:
    """All committed records of a topic up to now, partition by partition."""
    consumer = Consumer(
        consumer_config(settings, settings.group("reader")) | {"enable.partition.eof": True}
    )
    places = _places(settings, topic)
    numbers = {(place.topic, place.partition): number for number, place in places.items()}
    consumer.assign([TopicPartition(p.topic, p.partition, 0) for p in places.values()])
    found: list[tuple[int, Message]] = []
    unread = set(places)
    deadline = time.monotonic() + READ_SECONDS
    while unread:
        assert time.monotonic() < deadline, f"{topic} cannot be read"
        for message in consumer.consume(10_000, 0.2):
            number = numbers[message.topic() or "", message.partition() or 0]
            if message.error() is None:
                found.append((number, message))
            else:
                unread.discard(number)
    consumer.close()
    found.sort(key=lambda each: (each[0], each[1].offset() or 0))
    return [message for _, message in found]


def _places(settings: Settings, topic: Topic) -> dict[int, TopicPartition]:
    admin = admin_client(settings)
    return places_of(admin, settings, topic)


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
        record = decode_sync_record(message.value())
        for recipient in recipients_of(message.key() or b""):
            found.setdefault(recipient.decode(), []).append(record)
    return found


def _committed(settings: Settings, stage: str, topic: Topic) -> dict[int, TopicPartition]:
    """The committed offsets of a stage by partition, below 0 without a commit."""
    places = _places(settings, topic)
    found = group_places(settings, settings.group(stage), list(places.values()))
    return dict(zip(places, found, strict=True))


def committed(settings: Settings, stage: str, topic: Topic) -> dict[int, TopicPartition]:
    """The committed offsets of a stage, by partition; for sync timelines by shard."""
    found = _committed(settings, stage, topic)
    return {number: place for number, place in found.items() if place.offset >= 0}


def is_caught_up(settings: Settings, stage: str, topic: Topic) -> bool:
    """Whether a stage has committed all records that its topic has now."""
    places = list(_committed(settings, stage, topic).values())
    ends = stable_ends(admin_client(settings), places, READ_SECONDS)
    return all(max(p.offset, 0) >= ends[p.topic, p.partition] for p in places)
