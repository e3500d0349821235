"""Asks the broker about partitions, with retries: the common part of followers and tails."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import stamina
from confluent_kafka import Consumer, KafkaException, TopicPartition

from backends.kafka.clients import REQUEST_SECONDS, admin_client
from backends.kafka.kafka_security import is_refusal
from backends.kafka.partition_ends import OffsetQuery, consumer_bounds, written_ends
from backends.kafka.topic_reading import NO_TOPIC, assigned_consumer
from backends.sync_layout.topic_creation import places_of
from schemas.errors import ConfigurationError, ServerUnavailable
from schemas.number_types import Offset
from schemas.settings import Settings
from schemas.topics import Topic

AnswerT = TypeVar("AnswerT")


def open_consumer(settings: Settings) -> Consumer:
    """Return a consumer for manual assignment that detects lost offsets and reports ends."""
    more = {
        "auto.offset.reset": "error",  # lost offsets must not be skipped silently
        "fetch.queue.backoff.ms": 10,  # the default is one second after each full queue
    }
    return assigned_consumer(settings, "reader", more)


def bounds(consumer: Consumer, place: TopicPartition) -> tuple[Offset, Offset]:
    """Return the oldest offset of a partition and the end of its committed records.

    Raises:
        ConfigurationError: The partition does not exist.
        ServerUnavailable: The broker does not answer.
    """
    return answered(place.topic, lambda: consumer_bounds(consumer, place, REQUEST_SECONDS))


def written_end(settings: Settings, place: TopicPartition) -> Offset:
    """Return the end of a partition, records of open transactions included.

    Errors: see `offsets`.
    """
    admin = admin_client(settings)  # hold the reference: without it the futures never complete
    (end,) = answered(place.topic, lambda: written_ends(admin, [place], REQUEST_SECONDS)).values()
    return end


def offsets(settings: Settings, topic: Topic, query: OffsetQuery) -> dict[int, Offset]:
    """Return one offset for each partition of a topic; for ``im.sync``, for each shard number.

    Raises:
        ConfigurationError: The topic does not exist.
        ServerUnavailable: The broker does not answer.
    """
    admin = admin_client(settings)  # hold the reference: without it the futures never complete
    name = settings.topic(topic)

    def read_offsets() -> dict[int, Offset]:
        missing = admin.list_topics(name, timeout=REQUEST_SECONDS).topics[name].error
        if missing is not None:
            raise KafkaException(missing)
        places = places_of(admin, settings, topic)
        by_place = query(admin, places.values(), REQUEST_SECONDS)
        return {number: by_place[p.topic, p.partition] for number, p in places.items()}

    return answered(name, read_offsets)


def shards(settings: Settings, topic: Topic) -> dict[int, TopicPartition]:
    """Return a topic's partitions by number; for ``im.sync``, all shards. Errors: `offsets`."""
    admin = admin_client(settings)
    return answered(settings.topic(topic), lambda: places_of(admin, settings, topic))


def answered(topic: str, request: Callable[[], AnswerT]) -> AnswerT:
    """Return the broker's answer about a topic; retries while the failure may be temporary.

    Raises:
        ConfigurationError: The topic does not exist.
        ServerUnavailable: The broker does not answer.
    """
    try:
        return stamina.retry(on=_may_pass, attempts=None, timeout=REQUEST_SECONDS, wait_max=1.0)(
            request
        )()
    except KafkaException as exception:
        error = exception.args[0]
        if error.code() in NO_TOPIC:
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
    return (
        isinstance(exception, KafkaException)
        and exception.args[0].code() not in NO_TOPIC
        and not is_refusal(exception.args[0])
    )
