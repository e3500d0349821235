"""The sinks that there are, each from its topic to its store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from threading import Event
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaException

from backends.cassandra import cassandra_session, create_tables
from backends.elasticsearch import elasticsearch_client
from schemas.errors import ServerUnavailable, TransientFailure
from schemas.settings import Settings
from schemas.topics import Topic
from sinks.base.consumer import sink_consumer_config
from sinks.base.dead_letters import KafkaDeadLetters
from sinks.base.delivery import Delivery
from sinks.base.loop import SinkLoop
from sinks.base.poison import PoisonGuard, PoisonLimits
from sinks.base.records import Bounds
from sinks.base.retry import attempts
from sinks.base.source import OneTopic, Source
from sinks.base.writer import Writer
from sinks.cassandra.messages import MessageWriter
from sinks.cassandra.requests import failures_by_kind
from sinks.cassandra.sync import SyncWriter
from sinks.elasticsearch.writer import SearchWriter
from sinks.sync_source import sync_consumer_config, sync_source

METADATA_SECONDS: Final = 5.0
"""How long the broker may take to say whether a topic is there."""

_MIB: Final = 1024 * 1024

_logger = logging.getLogger(__name__)


class Stage(NamedTuple):
    """One sink.

    ``open_writer``: connects to the store and makes its tables where they are missing; raises
    `ServerUnavailable` or `TransientFailure` while the store does not answer.
    """

    topic: Topic
    bounds: Bounds
    open_writer: Callable[[Settings], AbstractContextManager[Writer]]


@contextmanager
def _message_writer(settings: Settings) -> Iterator[Writer]:
    with cassandra_session(settings) as session:
        with failures_by_kind():
            create_tables(session, settings)
        yield MessageWriter(session)


@contextmanager
def _sync_writer(settings: Settings) -> Iterator[Writer]:
    with cassandra_session(settings) as session:
        with failures_by_kind():
            create_tables(session, settings)
        yield SyncWriter(session, settings)


@contextmanager
def _search_writer(settings: Settings) -> Iterator[Writer]:
    with elasticsearch_client(settings) as client:
        yield SearchWriter(client, settings)


STAGES: Final = {
    "message": Stage(Topic.TIMELINE, Bounds(10_000, 16 * _MIB, 5_000), _message_writer),
    # The more records of one recipient are in a batch, the fewer requests they take.
    "sync": Stage(Topic.SYNC, Bounds(100_000, 32 * _MIB, 5_000), _sync_writer),
    "search": Stage(Topic.TIMELINE, Bounds(4_000, 8 * _MIB, 2_000), _search_writer),
}
"""By the name that ``python -m sinks`` takes; the consumer group is ``sink-<name>``."""


def run_stage(name: str, settings: Settings, stop: Event) -> None:
    """Runs a sink until ``stop`` is set. Waits for its servers, at the start and at any time.

    Raises:
        FatalFailure: The process cannot go on; so does any other error.
    """
    stage = STAGES[name]
    group, topic = f"sink-{name}", settings.topic(stage.topic)
    config, source = sink_consumer_config(settings, group), _source(stage, settings, group)
    if stage.topic is Topic.SYNC:
        config |= sync_consumer_config(settings)
    consumer = Consumer(config)
    with ExitStack() as stack:
        try:
            _await_topic(consumer, topic, stop)
            writer = _await_writer(stage, settings, stop, stack)
        except (TransientFailure, ServerUnavailable):
            return  # stopped while it waited
        dead_letters = KafkaDeadLetters(settings, source, group)
        delivery = Delivery(writer, dead_letters, PoisonGuard(PoisonLimits()))
        _logger.info("%s reads %s", group, topic)
        SinkLoop(consumer, source, delivery.deliver, stage.bounds).run(stop)
        _logger.info("%s has ended in order", group)


def _source(stage: Stage, settings: Settings, group: str) -> Source:
    if stage.topic is Topic.SYNC:
        return sync_source(settings, group)
    return OneTopic(settings.topic(stage.topic))


def _await_topic(consumer: Consumer, topic: str, stop: Event) -> None:
    for attempt in attempts(f"looking for the topic {topic}", stop):
        with attempt:
            try:
                found = consumer.list_topics(topic, METADATA_SECONDS).topics[topic]
            except KafkaException as error:
                raise ServerUnavailable(f"the broker does not answer: {error}") from error
            if found.error is not None:
                raise TransientFailure("it is not there; `im topics create` makes it")


def _await_writer(stage: Stage, settings: Settings, stop: Event, stack: ExitStack) -> Writer:
    """The writer; it is closed with the stack."""
    for attempt in attempts("opening the store", stop):
        with attempt:
            writer = stack.enter_context(stage.open_writer(settings))
    return writer
