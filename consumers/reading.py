"""Reading partitions that one is told, in no group: what followers and tails have in common."""

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

from backends.kafka import REQUEST_SECONDS, admin_client, consumer_config
from backends.shards import places_of
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
    """A partition does not hold the offset to go on from. Does not leave this room.

    Args:
        partition: Which.
        offset: What was to be read.
    """

    def __init__(self, partition: int, offset: int) -> None:
        super().__init__(f"partition {partition} does not hold offset {offset}")
        self.partition = partition
        self.offset = offset


def open_consumer(settings: Settings) -> Consumer:
    """A consumer that is told its partitions, reads them without holes, and tells their ends."""
    config = consumer_config(settings, settings.group("reader")) | {
        "auto.offset.reset": "error",  # an offset that is gone must not be passed over
        "enable.partition.eof": True,  # behind the last record may lie a transaction's mark
        "fetch.queue.backoff.ms": 10,  # a second by default, after each time the queue was full
    }
    return Consumer(config)


def bounds(consumer: Consumer, place: TopicPartition) -> tuple[int, int]:
    """The oldest offset of a partition, and the end of what is committed.

    Raises:
        ConfigurationError: There is no such partition.
        ServerUnavailable: The broker does not answer.
    """
    found: tuple[int, int] | None = answered(
        place.topic, lambda: consumer.get_watermark_offsets(place, timeout=REQUEST_SECONDS)
    )
    if found is None:
        raise ServerUnavailable(f"no offsets of {place.topic} within {REQUEST_SECONDS:.0f} s")
    return found


def written_end(settings: Settings, place: TopicPartition) -> int:
    """The end of all that is written to a partition, in transactions that are open, too.

    Errors as of `offsets`.
    """
    admin = admin_client(settings)  # to be held on to: without it the answers never come
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
    """An offset of each partition of a topic, of ``im.sync`` of each shard, by its number.

    Raises:
        ConfigurationError: There is no such topic.
        ServerUnavailable: The broker does not answer.
    """
    admin = admin_client(settings)  # to be held on to: without it the answers never come
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
    """The partitions of a topic by number, of ``im.sync`` all shards. Errors as of `offsets`."""
    admin = admin_client(settings)
    return answered(settings.topic(topic), lambda: places_of(admin, settings, topic))


def answered(topic: str, ask: Callable[[], AnswerT]) -> AnswerT:
    """What the broker answers about a topic, asked again while it cannot tell yet.

    Raises:
        ConfigurationError: There is no such topic.
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
    """A partition that was just made, or whose broker has just left, may have no leader yet."""
    return isinstance(exception, KafkaException) and exception.args[0].code() not in _NO_TOPIC


def gulp(consumer: Consumer, timeout: float, most: int) -> list[Message]:
    """Records, ends and errors: all that is here already, else the first within the timeout.

    To ask for many and wait would be simpler, but waits for the last of them, each time.
    """
    messages = consumer.consume(most, 0)
    if not messages and timeout > 0:
        first = consumer.poll(timeout)
        return [] if first is None else [first]
    return messages


def is_end(message: Message, error: KafkaError) -> bool:
    """Whether a message without a record tells the end of its partition. Else it may be ignored.

    Raises:
        OffsetGone: The partition does not hold the offset that is to be read.
        ConfigurationError: There is no such partition.
        ServerUnavailable: It cannot be read, and will not be by waiting.
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
    return False  # a broker that restarts: the client goes on by itself
