"""The part of confluent-kafka's `Consumer` that the loop uses, and its settings for sinks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol

from confluent_kafka import KafkaError, Message, TopicPartition

from backends.kafka.clients import consumer_config
from backends.kafka.kafka_security import access_refused, is_refusal
from backends.processes.minute_log import MinuteLog
from schemas.errors import FatalFailure
from schemas.settings import Settings

OnRebalance = Callable[[Any, list[TopicPartition]], None]

_NAMES: Final = 20
"""Maximum number of partitions in one log line."""

_errors: Final = MinuteLog(logging.getLogger(__name__))

_FETCHED_AHEAD_KIB: Final = 32 * 1024
"""Size of the library's fetch queue for all partitions, in addition to the loop's own buffer."""


class SourceConsumer(Protocol):
    """The methods of `confluent_kafka.Consumer` that the loop uses; see its documentation."""

    def subscribe(
        self,
        topics: list[str],
        on_assign: OnRebalance,
        on_revoke: OnRebalance,
        on_lost: OnRebalance,
    ) -> None:
        """Joins the group; the callbacks run inside `poll`, `consume` and `close`."""

    def poll(self, timeout: float) -> Message | None:
        """The next message or event within the timeout."""

    def consume(self, num_messages: int, timeout: float) -> list[Message]:
        """The messages and events that arrive within the timeout."""
        ...

    def assignment(self) -> list[TopicPartition]:
        """The assigned partitions."""
        ...

    def pause(self, partitions: list[TopicPartition]) -> None:
        """Stops fetching; `poll` still serves all events."""

    def resume(self, partitions: list[TopicPartition]) -> None:
        """Resumes fetching."""

    def commit(self, *, offsets: list[TopicPartition], asynchronous: Literal[True]) -> None:
        """Begins a commit; `poll`, `consume` or `close` passes the response to ``on_commit``."""

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        """The group's committed offsets."""
        ...

    def close(self) -> None:
        """Releases all partitions and leaves the group."""


def sink_consumer_config(settings: Settings, stage: str) -> dict[str, Any]:
    """Client settings for a sink: large batches under load, low latency without load."""
    return consumer_config(settings, settings.group(stage)) | {
        # A rebalance revokes only the partitions that move; reading of the others continues.
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": 10_000,  # a killed sink is replaced after this
        "heartbeat.interval.ms": 3_000,
        "socket.timeout.ms": 10_000,  # closes the connection to an unresponsive broker
        # With the end of a partition as an event, the offset after the last transaction marker is
        # committed as well, so a sink that has stored all records has a lag of 0.
        "enable.partition.eof": True,
        "fetch.error.backoff.ms": 100,
        # Compressed bytes. An entry in the sync timelines of many recipients is compressed to a
        # tenth, so the default of 50 MiB would be 500 MiB in memory.
        "max.partition.fetch.bytes": 1024 * 1024,
        "fetch.max.bytes": 4 * 1024 * 1024,
        "queued.max.messages.kbytes": _FETCHED_AHEAD_KIB,
        "queued.min.messages": 100_000,
    }


def names_of(partitions: list[TopicPartition]) -> str:
    """The names of partitions, at most `_NAMES`, for a log line."""
    names = [f"{place.topic}[{place.partition}]" for place in partitions[:_NAMES]]
    more = len(partitions) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def raise_if_fatal(error: KafkaError) -> None:
    """Logs an error that is not fatal: the client library recovers from it by itself.

    Raises:
        AccessRefused: The broker refuses the client.
        FatalFailure: The error is fatal.
    """
    if is_refusal(error):
        raise access_refused(error, "the sink to read its topic in its group")
    if error.fatal():
        raise FatalFailure(f"the Kafka client cannot continue: {error}")
    _errors.warning("Kafka: %s", error)
