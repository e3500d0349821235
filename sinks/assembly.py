"""All sinks: the topic, the batch bounds and the store of each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from threading import Event
from typing import Final, NamedTuple

from confluent_kafka import Consumer

from backends.cassandra.session import cassandra_session
from backends.identity.identity_watch import DeploymentWatch, await_deployment
from backends.identity.store_claim import claim_store
from backends.kafka.stage_group import StageGroup
from backends.processes.watchdog import Vitals, Watchdog
from schemas.deployment import Deployment
from schemas.errors import RetryableError
from schemas.settings import Settings
from schemas.topics import Topic
from sinks.base.commits import Commits
from sinks.base.consumer import sink_consumer_config
from sinks.base.delivery import BatchDelivery
from sinks.base.loop import SinkLoop
from sinks.base.poison import PoisonGuard, PoisonLimits
from sinks.base.records import Bounds
from sinks.base.retry import attempts
from sinks.base.sink_letters import KafkaDeadLetters
from sinks.base.source import OneTopic, SinkSource
from sinks.base.writer_port import StoreWriter
from sinks.cassandra.messages import MessageWriter
from sinks.cassandra.requests import failures_by_kind
from sinks.cassandra.sync_writer import SyncWriter
from sinks.contact_reader import contact_log
from sinks.sync_source import sync_source

_MIB: Final = 1024 * 1024

_logger = logging.getLogger(__name__)


class SinkStage(NamedTuple):
    """One sink.

    ``open_writer``: connects to the store, checks that the store belongs to the deployment, and
    creates missing tables. Raises `ServerUnavailable` or `TransientFailure` while the store does
    not answer, and `WrongDeployment`.
    """

    topic: Topic
    bounds: Bounds
    open_writer: Callable[[Settings, Deployment], AbstractContextManager[StoreWriter]]


@contextmanager
def _message_writer(settings: Settings, deployment: Deployment) -> Iterator[StoreWriter]:
    with cassandra_session(settings) as session:
        with failures_by_kind():
            claim_store(session, settings, deployment)
        yield MessageWriter(session)


@contextmanager
def _sync_writer(settings: Settings, deployment: Deployment) -> Iterator[StoreWriter]:
    with cassandra_session(settings) as session:
        with failures_by_kind():
            claim_store(session, settings, deployment)
        if settings.skip_inactive:
            with contact_log(settings) as contacts:
                yield SyncWriter(session, settings, contacts=contacts)
        else:
            yield SyncWriter(session, settings)


def _search_writer(
    settings: Settings, deployment: Deployment
) -> AbstractContextManager[StoreWriter]:
    # Elasticsearch's client takes 30 MB and 0.9 s of processor time in each process that
    # imports it. The other sinks do not need the client.
    from sinks.elasticsearch.search_stage import open_writer  # noqa: PLC0415

    return open_writer(settings, deployment)


STAGES: Final = {
    "message": SinkStage(Topic.TIMELINE, Bounds(10_000, 16 * _MIB, 5_000), _message_writer),
    # A larger batch has more records of one recipient, which then take fewer rows.
    "sync": SinkStage(Topic.SYNC, Bounds(20_000, 16 * _MIB, 5_000), _sync_writer),
    "search": SinkStage(Topic.TIMELINE, Bounds(4_000, 8 * _MIB, 2_000), _search_writer),
}
"""The sinks by their name in ``python -m sinks``; the consumer group is ``sink-<name>``."""


def run_stage(name: str, settings: Settings, stop: Event) -> None:
    """Runs a sink until ``stop`` is set. Waits for its servers, at the start and at any time.

    Raises:
        FatalFailure: The process cannot continue. Any other error means the same.
    """
    stage = STAGES[name]
    group, topic = f"sink-{name}", settings.topic(stage.topic)
    source = source_of(stage, settings, group)
    config = sink_consumer_config(settings, group) | source.consumer_config
    commits = Commits()
    consumer = Consumer(config | {"on_commit": commits.answered})
    with ExitStack() as stack:
        try:
            deployment = await_deployment(settings, stop)
            if deployment is None:
                return  # stopped while it waited
            writer = _await_writer(stage, settings, deployment, stop, stack)
        except RetryableError:
            return  # stopped while it waited
        dead_letters = KafkaDeadLetters(settings, source, group)
        vitals = Vitals()
        delivery = BatchDelivery(writer, dead_letters, PoisonGuard(PoisonLimits()), vitals)
        _logger.info("%s reads %s", group, topic)
        watch = DeploymentWatch(settings, deployment)
        watch.start()
        stack.callback(watch.stop)
        loop = SinkLoop(
            consumer, commits, source, delivery.deliver, stage.bounds,
            assigned=watch.check_soon, vitals=vitals,
        )  # fmt: skip
        watched = StageGroup(settings, group, loop.topics, loop.durable_places)
        watchdog = Watchdog(group, vitals, watched)
        watchdog.start()
        stack.callback(watchdog.stop)
        loop.run(stop)
        _logger.info("%s has ended in order", group)


def source_of(stage: SinkStage, settings: Settings, group: str) -> SinkSource:
    """The source of a stage."""
    if stage.topic is Topic.SYNC:
        return sync_source(settings, group)
    return OneTopic(settings.topic(stage.topic))


def _await_writer(
    stage: SinkStage, settings: Settings, deployment: Deployment, stop: Event, stack: ExitStack
) -> StoreWriter:
    """Opens the writer; closing the stack closes the writer."""
    for attempt in attempts("opening the store", stop):
        with attempt:
            writer = stack.enter_context(stage.open_writer(settings, deployment))
    return writer
