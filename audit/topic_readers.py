"""Read topics between two offsets: committed records only, without a consumer group.

The audit deliberately has a reader of its own in place of `backends.kafka.topic_reading`: a record
that the shared reader lost would be missing in the audit, too. This reader ends at fixed offsets,
so that all topics are read up to the same time, and its fetches are larger.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from audit.log import KafkaRecord
from backends.kafka.clients import REQUEST_SECONDS, admin_client, consumer_config
from backends.kafka.groups import committed_places
from backends.kafka.partition_ends import (
    OffsetQuery,
    begin_offsets,
    stable_ends,
    written_ends,
)
from backends.processes.polling import poll_until
from backends.sync_layout.layouts import SyncShards
from backends.sync_layout.topic_creation import sync_shards
from schemas.errors import ConfigurationError, ServerUnavailable
from schemas.number_types import Offset
from schemas.settings import Settings
from schemas.topics import Topic

MAX_RECORDS_PER_READ: Final = 2_000
"""Records of one call: the client returns them together, and they fit into the CPU cache."""

GULP_SECONDS: Final = 0.05
"""Maximum wait of one call for that number of records. The last call of a partition waits."""

SILENCE_SECONDS: Final = 30.0
"""Timeout without any record; the broker then counts as unreachable."""

OPEN_TRANSACTION_SECONDS: Final = 90.0
"""Maximum age of an open transaction. The broker would have aborted an older transaction."""

_FOR_SCANS: Final[dict[str, Any]] = {
    "auto.offset.reset": "error",  # a removed offset must not be skipped
    "enable.partition.eof": True,  # a transaction mark may follow the last record
    "fetch.wait.max.ms": 10,  # delays the end event; half a second by default
    # Enough records to process during the next fetch. More would cost memory and CPU caches.
    "queued.min.messages": 20_000,
    "queued.max.messages.kbytes": 16 * 1024,
    "fetch.queue.backoff.ms": 10,  # a second by default, after each time the queue was full
}


class OffsetSpan(NamedTuple):
    """The offsets of a partition from ``low`` to below ``end``.

    ``partition``: the number of a shard for sync timelines.
    """

    partition: int
    low: Offset
    end: Offset


def committed_spans(settings: Settings, topic: Topic) -> list[OffsetSpan]:
    """The offsets with committed records in each partition, as of now.

    Raises:
        ServerUnavailable: The broker does not answer, or the topic does not exist.
    """
    return _spans(settings, topic, stable_ends)


def settled_spans(settings: Settings, topic: Topic) -> list[OffsetSpan]:
    """All written offsets, as of now. Waits until the transactions open at that time have ended.

    Raises:
        ServerUnavailable: The broker does not answer, or a transaction stays open.
    """
    written = _spans(settings, topic, written_ends)

    def all_are_readable() -> bool:
        committed = {span.partition: span.end for span in committed_spans(settings, topic)}
        return all(committed[span.partition] >= span.end for span in written)

    if not poll_until(all_are_readable, OPEN_TRANSACTION_SECONDS):
        raise ServerUnavailable(
            f"a transaction on {settings.topic(topic)} has been open for more than "
            f"{OPEN_TRANSACTION_SECONDS:.0f} s"
        )
    return written


def audited_shards(settings: Settings) -> SyncShards:
    """The shards of sync timelines, as of now.

    Raises:
        ServerUnavailable: The broker does not answer.
    """
    admin = admin_client(settings)
    with _broker_errors(settings):
        return sync_shards(admin, settings)


def _spans(settings: Settings, topic: Topic, end_query: OffsetQuery) -> list[OffsetSpan]:
    admin = admin_client(settings)
    with _broker_errors(settings):
        places = _partitions(admin, settings, topic)
        low = begin_offsets(admin, places.values(), REQUEST_SECONDS)
        end = end_query(admin, places.values(), REQUEST_SECONDS)
    of = {number: (place.topic, place.partition) for number, place in sorted(places.items())}
    return [OffsetSpan(number, low[place], end[place]) for number, place in of.items()]


def _partitions(
    admin: AdminClient, settings: Settings, topic: Topic
) -> Mapping[int, TopicPartition]:
    """The partitions by number. Their count comes from the broker, not from the settings."""
    name = settings.topic(topic)
    places: dict[int, TopicPartition]
    if topic is Topic.SYNC:
        places = dict(sync_shards(admin, settings).places.items())
    else:
        found = admin.list_topics(name, timeout=REQUEST_SECONDS).topics[name]
        places = {partition: TopicPartition(name, partition) for partition in found.partitions}
    if not places:
        raise ConfigurationError(f"there is no topic {name}: create it with `im topics create`")
    return places


def read(settings: Settings, topic: Topic, spans: Sequence[OffsetSpan]) -> Iterator[KafkaRecord]:
    """All records of the spans, in order within each partition.

    Raises:
        ServerUnavailable: The broker does not answer, or retention removed records before they
            were read.
    """
    for partition, offset, message in read_messages(settings, topic, spans):
        yield KafkaRecord(partition, offset, message.key(), message.value())


def read_messages(
    settings: Settings, topic: Topic, spans: Sequence[OffsetSpan]
) -> Iterator[tuple[int, Offset, Message]]:
    """(partition, offset, record) in the order of arrival; otherwise as `read`."""
    name = settings.topic(topic)
    spans = [span for span in spans if span.end > span.low]
    last = {span.partition: span.end - 1 for span in spans}
    admin = admin_client(settings)
    with _broker_errors(settings), _consumer(settings) as consumer:
        places = _partitions(admin, settings, topic)
        numbers: dict[tuple[str | None, int | None], int]
        numbers = {(place.topic, place.partition): number for number, place in places.items()}
        consumer.assign([_at(places[span.partition], span.low) for span in spans])
        heard = time.monotonic()
        while last:
            messages = consumer.consume(MAX_RECORDS_PER_READ, GULP_SECONDS)
            if messages:
                heard = time.monotonic()
            elif time.monotonic() - heard > SILENCE_SECONDS:
                raise ServerUnavailable(f"no record of {name} within {SILENCE_SECONDS:.0f} s")
            yield from _records(messages, numbers, last)


def _at(place: TopicPartition, offset: Offset) -> TopicPartition:
    return TopicPartition(place.topic, place.partition, offset)


def _records(
    messages: Sequence[Message],
    numbers: Mapping[tuple[str | None, int | None], int],
    last: dict[int, int],
) -> Iterator[tuple[int, Offset, Message]]:
    """The records up to the last offset of each partition. Removes finished ones from ``last``."""
    for message in messages:
        partition = numbers.get((message.topic(), message.partition()))
        offset, error = message.offset(), message.error()
        if error is not None:
            if _is_end(error):
                last.pop(-1 if partition is None else partition, None)
            continue
        if partition is None or offset is None or partition not in last:
            continue
        if offset <= last[partition]:
            yield partition, Offset(offset), message
        if offset >= last[partition]:
            del last[partition]


def read_at(
    settings: Settings, topic: Topic, partition: int, offsets: Sequence[Offset]
) -> Mapping[Offset, tuple[bytes | None, bytes | None]]:
    """(key, value) by offset of single records of a partition. Removed records are left out.

    Raises:
        ServerUnavailable: The broker does not answer.
    """
    found = {}
    for offset in offsets:
        for _, at, key, value in read(
            settings, topic, [OffsetSpan(partition, offset, Offset(offset + 1))]
        ):
            found[at] = (key, value)
    return found


def committed_offsets(
    settings: Settings, topic: Topic, stage: str, partitions: Iterable[int]
) -> dict[int, Offset]:
    """The committed offset of a stage in each partition; below 0 without a commit.

    Raises:
        ServerUnavailable: The broker does not answer.
    """
    admin = admin_client(settings)
    with _broker_errors(settings), _consumer(settings, settings.group(stage)) as consumer:
        places = _partitions(admin, settings, topic)
        wanted = list(partitions)
        found = committed_places(consumer, [places[number] for number in wanted])
        offsets = {(place.topic, place.partition): Offset(place.offset) for place in found}
        return {
            number: offsets[places[number].topic, places[number].partition] for number in wanted
        }


@contextmanager
def _consumer(settings: Settings, group: str | None = None) -> Iterator[Consumer]:
    """A consumer that never joins its group: its partitions are assigned explicitly."""
    config = consumer_config(settings, group or settings.group("verify")) | _FOR_SCANS
    consumer = Consumer(config)
    try:
        yield consumer
    finally:
        consumer.close()


def _is_end(error: KafkaError) -> bool:
    """Whether an error is the end of a partition. False for errors that the client retries.

    Raises:
        ServerUnavailable: The client cannot continue.
    """
    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the library's only name
        return True
    if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - the same
        raise ServerUnavailable("retention dropped records during the read: run `im verify` again")
    if error.fatal() or not error.retriable():
        raise ServerUnavailable(f"the broker refuses to return records: {error.str()}")
    return False


@contextmanager
def _broker_errors(settings: Settings) -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        raise ServerUnavailable(
            f"Kafka at {settings.kafka_bootstrap}: {error.args[0].str()}"
        ) from error
    except TimeoutError as error:
        raise ServerUnavailable(f"Kafka does not answer at {settings.kafka_bootstrap}") from error
