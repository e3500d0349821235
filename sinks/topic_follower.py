"""Follows a small topic whose newest records a sink holds in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Final, Protocol

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from backends.kafka.clients import LASTING_READER, admin_client, consumer_config
from backends.kafka.partition_ends import written_ends
from schemas.errors import ServerUnavailable, TransientFailure
from schemas.number_types import Offset
from schemas.settings import Settings
from schemas.topics import Topic
from sinks.base.consumer import raise_if_fatal

CATCH_UP_SECONDS: Final = 20.0
"""Time limit for the reading of records in one call. The next call continues from there."""

BROKER_SECONDS: Final = 5.0
"""Timeout of one request to the broker."""

_POLL_SECONDS: Final = 0.1
_GULP: Final = 10_000
_FETCHED_AHEAD_KIB: Final = 4 * 1024


class FollowingConsumer(Protocol):
    """The methods of `confluent_kafka.Consumer` that are used here; see its documentation."""

    def poll(self, timeout: float) -> Message | None:
        """The next message or event within the timeout."""

    def consume(self, num_messages: int, timeout: float) -> list[Message]:
        """The messages and events that arrive within the timeout."""
        ...


class TopicFollower:
    """Passes the records of all partitions to a function, in the order of each partition.

    Args:
        consumer: Reads all partitions from their first offsets, and reports their ends.
        ends: Requests the end of each partition.
        take: Receives each record.
        subject: The records, for messages: "contacts".
        monotonic: The clock for waits.
    """

    def __init__(
        self,
        consumer: FollowingConsumer,
        ends: Callable[[], dict[int, Offset]],
        take: Callable[[Message], object],
        subject: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._consumer = consumer
        self._ends = ends
        self._take = take
        self._subject = subject
        self._monotonic = monotonic
        self._next_offsets: dict[int, Offset] = {}
        """The next offset to read, by partition."""

    def read(self, wait: float = 0.0) -> None:
        """Takes all available records; waits only for the first one, in seconds.

        Raises:
            FatalFailure: The client cannot continue.
        """
        first = self._consumer.poll(wait)
        if first is None:
            return
        self._look_at(first)
        for message in self._consumer.consume(_GULP, 0):
            self._look_at(message)

    def catch_up(self) -> None:
        """Takes all records that the broker confirmed before the call.

        Raises:
            TransientFailure: The log was not read to its end in time.
            FatalFailure: The client cannot continue.
        """
        deadline = self._monotonic() + CATCH_UP_SECONDS
        ends = self._ends()
        while any(self._next_offsets.get(partition, 0) < end for partition, end in ends.items()):
            self.read(_POLL_SECONDS)
            if self._monotonic() > deadline:
                raise TransientFailure(
                    f"{self._subject} were not read within {CATCH_UP_SECONDS:.0f} s"
                )

    def _look_at(self, message: Message) -> None:
        error = message.error()
        partition, offset = message.partition(), message.offset()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
            raise_if_fatal(error)
        elif partition is None or offset is None:
            return
        elif error is not None:
            self._next_offsets[partition] = Offset(offset)
        else:
            self._next_offsets[partition] = Offset(offset + 1)
            self._take(message)


@contextmanager
def followed_topic(
    settings: Settings,
    topic: Topic,
    take: Callable[[Message], object],
    *,
    newest: timedelta | None = None,
) -> Iterator[TopicFollower]:
    """A follower of a topic of the deployment.

    Args:
        settings: The deployment.
        topic: The topic.
        take: Receives each record.
        newest: Begin with the records of this time before now, by the clock of this process. None:
            begin with the oldest record.

    Raises:
        ServerUnavailable: The broker does not answer, or there is no such topic.
        TransientFailure: The broker does not answer a request for offsets.
    """
    name, subject = settings.topic(topic), topic.spec.suffix
    config = (
        consumer_config(settings, settings.group(subject))
        | LASTING_READER
        | {
            "enable.partition.eof": True,
            "queued.max.messages.kbytes": _FETCHED_AHEAD_KIB,
        }
    )
    with closing(Consumer(config)) as consumer:
        try:
            partitions = consumer.list_topics(name, BROKER_SECONDS).topics[name].partitions
        except KafkaException as error:
            raise ServerUnavailable(f"Kafka does not answer: {error}") from error
        if not partitions:
            raise ServerUnavailable(f"{name}: no such topic; `im prepare` makes it")
        places = [TopicPartition(name, each, OFFSET_BEGINNING) for each in partitions]
        admin = admin_client(settings)
        if newest is not None:
            places = _places_since(consumer, admin, places, time.time() - newest.total_seconds())
        consumer.assign(places)
        yield TopicFollower(consumer, lambda: _ends(admin, places), take, subject)


def _places_since(
    consumer: Consumer, admin: AdminClient, places: Sequence[TopicPartition], since: float
) -> list[TopicPartition]:
    """The first record of each partition at or after a time, in seconds since 1970.

    The ends are requested first, so that no record between both requests is missed.
    """
    ends = _ends(admin, places)
    wanted = [TopicPartition(each.topic, each.partition, int(since * 1000)) for each in places]
    try:
        found = consumer.offsets_for_times(wanted, BROKER_SECONDS)
    except KafkaException as error:
        raise TransientFailure(f"offsets are not known: {error}") from error
    return [
        TopicPartition(
            each.topic, each.partition, each.offset if each.offset >= 0 else ends[each.partition]
        )
        for each in found
    ]


def _ends(admin: AdminClient, places: Sequence[TopicPartition]) -> dict[int, Offset]:
    """The end of each partition.

    Raises:
        TransientFailure: The broker does not answer.
    """
    try:
        ends = written_ends(admin, places, BROKER_SECONDS)
    except (KafkaException, TimeoutError) as error:
        raise TransientFailure(f"the ends of the topic are not known: {error}") from error
    return {partition: end for (_, partition), end in ends.items()}
