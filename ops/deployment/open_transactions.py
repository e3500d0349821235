"""Open transactions that block readers of committed records."""

from __future__ import annotations

import time
from contextlib import closing, suppress
from typing import Final

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from msgspec import Struct

from backends.kafka.clients import topic_partitions
from backends.kafka.partition_ends import PartitionPlace, stable_ends, written_ends
from backends.kafka.stage_group import ANSWER_SECONDS
from backends.kafka.topic_reading import assigned_consumer, read_to_end
from schemas.errors import ServerUnavailable
from schemas.settings import Settings
from schemas.topics import Topic

SHOWN_AFTER_SECONDS: Final = 10.0
"""A younger transaction is normal: a transaction of the sequencer takes some milliseconds."""

_READ_SECONDS: Final = 5.0
_LOGS: Final = (Topic.MESSAGES, Topic.TIMELINE)


class OpenTransaction(Struct, frozen=True, kw_only=True):
    """A transaction of a partition that is neither committed nor aborted.

    ``since``: the broker's time of its first record (ms since 1970); None if unknown.
    ``waiting``: the number of offsets from that record to the end of the partition.
    """

    topic: str
    partition: int
    since: int | None
    waiting: int

    def __str__(self) -> str:
        since = "some time ago"
        if self.since is not None:
            since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.since / 1000))
        return (
            f"{self.topic}[{self.partition}]: a transaction has been open since {since},"
            f" {self.waiting:,} records are blocked behind it"
        )


def open_transactions(admin: AdminClient, settings: Settings) -> list[OpenTransaction]:
    """The transactions that have been open for longer than `SHOWN_AFTER_SECONDS`.

    Raises:
        ServerUnavailable: The broker does not answer.
    """
    places = [place for topic in _LOGS for place in topic_partitions(settings, topic)]
    try:
        stable = stable_ends(admin, places, ANSWER_SECONDS)
        written = written_ends(admin, places, ANSWER_SECONDS)
        held = [
            TopicPartition(*place, offset)
            for place, offset in stable.items()
            if offset < written[place]
        ]
        since = _times(settings, held) if held else {}
    except (KafkaException, TimeoutError) as error:
        raise ServerUnavailable(f"the ends of the log cannot be read: {error}") from error
    latest = (time.time() - SHOWN_AFTER_SECONDS) * 1000
    return [
        OpenTransaction(
            topic=place.topic,
            partition=place.partition,
            since=since.get((place.topic, place.partition)),
            waiting=written[place.topic, place.partition] - place.offset,
        )
        for place in held
        if since.get((place.topic, place.partition), 0) <= latest
    ]


def _times(settings: Settings, places: list[TopicPartition]) -> dict[PartitionPlace, int]:
    """The broker's time of the record at each offset, as far as the broker answers in time."""
    times: dict[PartitionPlace, int] = {}
    uncommitted = {"isolation.level": "read_uncommitted"}
    with (
        closing(assigned_consumer(settings, "status", uncommitted)) as consumer,
        suppress(ServerUnavailable),
    ):
        for messages in read_to_end(consumer, places, _READ_SECONDS):
            for message in messages:
                place = (str(message.topic()), message.partition() or 0)
                times.setdefault(place, message.timestamp()[1])
            if len(times) == len(places):
                break
    return times
