"""Reads assigned partitions without a consumer group: the common part of followers and tails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import stamina
from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # public, not in __all__

from backends.kafka.clients import REQUEST_SECONDS, admin_client, consumer_config
from backends.sync_layout.topic_creation import places_of
from schemas.errors import ConfigurationError, ServerUnavailable
from schemas.settings import Settings
from schemas.topics import Topic

AnswerT = TypeVar("AnswerT")

_NO_TOPIC: Final = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - the library's name for it
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - the library's name for it
    }
)


class OffsetGone(Exception):
    """A partition no longer holds the next offset. Internal to `consumers`.

    Args:
        partition: The partition.
        offset: The offset to read.
    """

    def __init__(self, partition: int, offset: int) -> None:
        super().__init__(f"partition {partition} does not hold offset {offset}")
        self.partition = partition
        self.offset = offset


def open_consumer(settings: Settings) -> Consumer:
    """Return a consumer for manual assignment that detects lost offsets and reports ends."""
    config = consumer_config(settings, settings.group("reader")) | {
        "auto.offset.reset": "error",  # lost offsets must not be skipped silently
        "enable.partition.eof": True,  # a transaction marker may follow the last record
        "fetch.queue.backoff.ms": 10,  # the default is one second after each full queue
    }
    return Consumer(config)


def bounds(consumer: Consumer, place: TopicPartition) -> tuple[int, int]:
    """Return the oldest offset of a partition and the end of its committed records.

    Raises:
        ConfigurationError: The partition does not exist.
        ServerUnavailable: The broker does not answer.
    """
    found: tuple[int, int] | None = answered(
        place.topic, lambda: consumer.get_watermark_offsets(place, timeout=REQUEST_SECONDS)
    )
    if found is None:
        raise ServerUnavailable(f"no offsets of {place.topic} within {REQUEST_SECONDS:.0f} s")
    return found


def written_end(settings: Settings, place: TopicPartition) -> int:
    """Return the end of a partition, records of open transactions included.

    Errors: see `offsets`.
    """
    admin = admin_client(settings)  # hold the reference: without it the futures never complete
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # has no types

    def ask() -> int:
        asked = admin.list_offsets(
            {place: latest},
            isolation_level=IsolationLevel.READ_UNCOMMITTED,
            request_timeout=REQUEST_SECONDS,
        )
        return int(asked[place].result(REQUEST_SECONDS + 1).offset)

    return answered(place.topic, ask)


def offsets(
    settings: Settings, topic: Topic, spec: OffsetSpec, isolation: IsolationLevel
) -> dict[int, int]:
    """Return one offset for each partition of a topic; for ``im.sync``, for each shard number.

    Raises:
        ConfigurationError: The topic does not exist.
        ServerUnavailable: The broker does not answer.
    """
    admin = admin_client(settings)  # hold the reference: without it the futures never complete
    name = settings.topic(topic)

    def ask() -> dict[int, int]:
        missing = admin.list_topics(name, timeout=REQUEST_SECONDS).topics[name].error
        if missing is not None:
            raise KafkaException(missing)
        places = places_of(admin, settings, topic)
        asked = admin.list_offsets(
            dict.fromkeys(places.values(), spec),
            isolation_level=isolation,
            request_timeout=REQUEST_SECONDS,
        )
        return {
            number: asked[place].result(REQUEST_SECONDS + 1).offset
            for number, place in places.items()
        }

    return answered(name, ask)


def shards(settings: Settings, topic: Topic) -> dict[int, TopicPartition]:
    """Return a topic's partitions by number; for ``im.sync``, all shards. Errors: `offsets`."""
    admin = admin_client(settings)
    return answered(settings.topic(topic), lambda: places_of(admin, settings, topic))


def answered(topic: str, ask: Callable[[], AnswerT]) -> AnswerT:
    """Return the broker's answer about a topic; retries while the failure may be temporary.

    Raises:
        ConfigurationError: The topic does not exist.
        ServerUnavailable: The broker does not answer.
    """
    try:
        return stamina.retry(on=_may_pass, attempts=None, timeout=REQUEST_SECONDS, wait_max=1.0)(
            ask
        )()
    except KafkaException as exception:
        error = exception.args[0]
        if error.code() in _NO_TOPIC:
            raise ConfigurationError(
                f"there is no topic {topic}: `im topics create`"
            ) from exception
        raise ServerUnavailable(
            f"Kafka does not answer about {topic}: {error.str()}"
        ) from exception
    except TimeoutError as error:
        raise ServerUnavailable(f"Kafka does not answer about {topic} in time") from error


def _may_pass(exception: Exception) -> bool:
    """A new partition, or one that lost its broker, may have no leader yet: retry."""
    return isinstance(exception, KafkaException) and exception.args[0].code() not in _NO_TOPIC


def gulp(consumer: Consumer, timeout: float, most: int) -> list[Message]:
    """Return all buffered records, ends and errors, else the first one within the timeout.

    A plain `Consumer.consume` with a timeout would wait each time until ``most`` have arrived.
    """
    messages = consumer.consume(most, 0)
    if not messages and timeout > 0:
        first = consumer.poll(timeout)
        return [] if first is None else [first]
    return messages


def is_end(message: Message, error: KafkaError) -> bool:
    """Return whether a message without a record reports a partition end; ignore it otherwise.

    Raises:
        OffsetGone: The partition no longer holds the offset to read.
        ConfigurationError: The partition does not exist.
        ServerUnavailable: The partition cannot be read, and waiting does not help.
    """
    code = error.code()
    if code == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the library's name for it
        return True
    if code == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - the library's name for it
        raise OffsetGone(message.partition() or 0, message.offset() or 0)
    if code in _NO_TOPIC:
        raise ConfigurationError(f"there is no topic {message.topic()}: `im topics create`")
    if error.fatal():
        raise ServerUnavailable(f"{message.topic()} cannot be read: {error.str()}")
    return False  # such as a broker restart: the client reconnects by itself
