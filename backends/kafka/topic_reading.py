"""Reads assigned partitions without a consumer group, once to their ends or continuously.

`read_to_end` serves all callers that read to the present end. Followers, which never end, and
`consumers.timeline_tail`, which also waits for the end of open transactions, have their own loops
and share `gulp` and `is_end`. The audit has a reader of its own, see `audit.topic_readers`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from backends.kafka.clients import consumer_config
from schemas.errors import ConfigurationError, ServerUnavailable
from schemas.number_types import Offset
from schemas.settings import Settings

MAX_BATCH: Final = 2_000
"""Maximum number of records in one batch: they fit into the CPU cache."""

_POLL_SECONDS: Final = 0.5

NO_TOPIC: Final = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - the library's name for it
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - the library's name for it
    }
)
"""The codes of errors about a topic or a partition that does not exist."""


class OffsetGone(Exception):
    """A partition no longer holds the next offset. The caller converts the error.

    Args:
        partition: The partition.
        offset: The offset to read.
    """

    def __init__(self, partition: int, offset: Offset) -> None:
        super().__init__(f"partition {partition} does not hold offset {offset}")
        self.partition = partition
        self.offset = offset


def assigned_consumer(
    settings: Settings, group: str, more: Mapping[str, Any] = MappingProxyType({})
) -> Consumer:
    """A consumer for manual assignment that reports the ends of partitions.

    Args:
        settings: The settings of the deployment.
        group: The name of the group, of which the consumer never becomes a member.
        more: Further settings of the client.
    """
    config = consumer_config(settings, settings.group(group)) | {
        "enable.partition.eof": True,  # a transaction marker may follow the last record
    }
    return Consumer(config | dict(more))


def read_to_end(
    consumer: Consumer, places: Sequence[TopicPartition], silence_seconds: float
) -> Iterator[list[Message]]:
    """Yields the records of partitions in batches, up to the end of each partition as of now.

    Records that arrive during the call may be included. The consumer remains assigned, so it can
    follow afterwards.

    Args:
        consumer: A consumer with ``enable.partition.eof``, see `assigned_consumer`.
        places: The partitions, each with the first offset.
        silence_seconds: Maximum time without a record or an end.

    Raises:
        ServerUnavailable: Nothing arrives in time, or a partition cannot be read.
        OffsetGone: A partition does not hold the first offset. Only if the consumer has the
            setting ``auto.offset.reset=error``; otherwise the oldest record is the first.
    """
    consumer.assign(list(places))
    unread = {(place.topic, place.partition) for place in places}
    heard_at = time.monotonic()
    while unread:
        messages = gulp(consumer, min(_POLL_SECONDS, silence_seconds), MAX_BATCH)
        records = [message for message in messages if message.error() is None]
        if records:
            yield records
        ended = _ended(messages) if len(records) < len(messages) else set()
        unread -= ended
        if records or ended:
            heard_at = time.monotonic()
        elif time.monotonic() - heard_at > silence_seconds:
            topics = ", ".join(sorted({topic for topic, _ in unread}))
            raise ServerUnavailable(f"{topics} cannot be read within {silence_seconds:.0f} s")


def first_record(
    consumer: Consumer, place: TopicPartition, silence_seconds: float
) -> Message | None:
    """The first record from an offset on; None if there is none. Otherwise as `read_to_end`."""
    for records in read_to_end(consumer, [place], silence_seconds):
        return records[0]
    return None


def _ended(messages: Sequence[Message]) -> set[tuple[str, int]]:
    """The partitions whose end is among the messages. Errors: see `read_to_end`."""
    ended = set()
    for message in messages:
        error = message.error()
        try:
            if error is not None and is_end(message, error):
                ended.add((message.topic() or "", message.partition() or 0))
        except ConfigurationError as missing:
            raise ServerUnavailable(str(missing)) from None
    return ended


def gulp(consumer: Consumer, timeout: float, most: int) -> list[Message]:
    """All buffered records, ends and errors, else the first one within the timeout.

    A plain `Consumer.consume` with a timeout would wait each time until ``most`` have arrived.
    """
    messages = consumer.consume(most, 0)
    if not messages and timeout > 0:
        first = consumer.poll(timeout)
        return [] if first is None else [first]
    return messages


def is_end(message: Message, error: KafkaError) -> bool:
    """Whether a message without a record reports the end of its partition.

    False for an error that the client retries by itself.

    Raises:
        OffsetGone: The partition no longer holds the offset to read.
        ConfigurationError: The partition does not exist.
        ServerUnavailable: The partition cannot be read, and waiting does not help.
    """
    code = error.code()
    if code == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the library's name for it
        return True
    if code == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - the library's name for it
        raise OffsetGone(message.partition() or 0, Offset(message.offset() or 0))
    if code in NO_TOPIC:
        raise ConfigurationError(f"there is no topic {message.topic()}: `im topics create`")
    if error.fatal():
        raise ServerUnavailable(f"{message.topic()} cannot be read: {error.str()}")
    return False  # such as a broker restart: the client reconnects by itself
