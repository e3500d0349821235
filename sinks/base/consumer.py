"""The part of confluent-kafka's `Consumer` that the loop uses, and how it is set up for sinks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol

from confluent_kafka import KafkaError, Message, TopicPartition

from backends.kafka import consumer_config
from backends.minutely import MinuteLog
from schemas.errors import FatalFailure
from schemas.settings import Settings

OnRebalance = Callable[[Any, list[TopicPartition]], None]

_NAMES: Final = 20
"""Partitions that one line of the log names."""

_errors: Final = MinuteLog(logging.getLogger(__name__))

_FETCHED_AHEAD_KIB: Final = 32 * 1024
"""What the library holds beside the loop's own buffer, for all partitions together."""


class SourceConsumer(Protocol):
    """What the loop needs of `confluent_kafka.Consumer`, whose documentation holds for it."""

    def subscribe(
        self,
        topics: list[str],
        on_assign: OnRebalance,
        on_revoke: OnRebalance,
        on_lost: OnRebalance,
    ) -> None:
        """Joins the group; the callbacks run inside `poll`, `consume` and `close`."""

    def poll(self, timeout: float) -> Message | None:
        """The next message or event, if there is one within the time."""

    def consume(self, num_messages: int, timeout: float) -> list[Message]:
        """As many messages and events as there are within the time."""
        ...

    def assignment(self) -> list[TopicPartition]:
        """What is assigned now."""
        ...

    def pause(self, partitions: list[TopicPartition]) -> None:
        """Stops fetching; `poll` goes on serving everything else."""

    def resume(self, partitions: list[TopicPartition]) -> None:
        """Fetches again."""

    def commit(self, *, offsets: list[TopicPartition], asynchronous: Literal[True]) -> None:
        """Begins a commit; the answer goes to ``on_commit``, inside `poll`, `consume`, `close`."""

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        """The group's commits."""
        ...

    def close(self) -> None:
        """Gives everything back and leaves the group."""


def sink_consumer_config(settings: Settings, stage: str) -> dict[str, Any]:
    """Client settings for a sink: big gulps under load, no waiting without it."""
    return consumer_config(settings, settings.group(stage)) | {
        # Only what moves is taken from a sink in a rebalance; the rest flows on.
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": 10_000,  # a killed sink is replaced after this
        "heartbeat.interval.ms": 3_000,
        "socket.timeout.ms": 10_000,  # a connection to a broker that stands still is given up
        # The end of a partition is told, so that the markers of transactions behind the last
        # record are committed, too, and the lag of a sink that has everything is 0.
        "enable.partition.eof": True,
        "fetch.min.bytes": 1,  # a lone record is not kept waiting for company
        "fetch.wait.max.ms": 100,  # the end of a partition is told after this
        "fetch.error.backoff.ms": 100,
        # As compressed. One entry in the sync timelines of many comes to a tenth of its size, so
        # the defaults, 50 MiB at a time, would be 500 MiB in memory.
        "max.partition.fetch.bytes": 1024 * 1024,
        "fetch.max.bytes": 4 * 1024 * 1024,
        "queued.max.messages.kbytes": _FETCHED_AHEAD_KIB,
        "queued.min.messages": 100_000,
    }


def names_of(partitions: list[TopicPartition]) -> str:
    """What is short enough for a line of a log."""
    names = [f"{place.topic}[{place.partition}]" for place in partitions[:_NAMES]]
    more = len(partitions) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def raise_if_fatal(error: KafkaError) -> None:
    """The client library mends all but a fatal error by itself, and goes on trying.

    Raises:
        FatalFailure: The error is fatal.
    """
    if error.fatal():
        raise FatalFailure(f"the Kafka client cannot go on: {error}")
    _errors.tell("Kafka: %s", error)
