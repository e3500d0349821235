"""All sinks: the topic, the batch bounds and the store of each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from threading import Event
from typing import Final, NamedTuple

from confluent_kafka import Consumer

from backends.cassandra.session import cassandra_session
from backends.identity.identity_watch import DeploymentWatch, await_deployment
from backends.identity.store_claim import claim_store
from backends.kafka.clients import admin_client
from backends.kafka.stage_group import StageGroup
from backends.monitoring.lag import add_lag
from backends.monitoring.monitor import Monitor, kafka_check, monitored
from backends.processes.traces import open_traces
from backends.processes.watchdog import Vitals, Watchdog
from schemas.deployment import Deployment
from schemas.errors import RetryableError
from schemas.settings import Settings
from schemas.topics import Topic
from sinks.base.commits import Commits
from sinks.base.consumer import sink_consumer_config
from sinks.base.delivery import BatchDelivery
from sinks.base.loop import Deliver, SinkLoop
from sinks.base.partitions import PartitionListener, PartitionListeners
from sinks.base.poison import PoisonGuard, PoisonLimits
from sinks.base.records import Bounds
from sinks.base.retry import attempts
from sinks.base.sink_letters import DeadLetters, KafkaDeadLetters
from sinks.base.sink_metrics import SinkMetrics
from sinks.base.sink_spans import NotingConsumer, SinkSpans
from sinks.base.source import OneTopic, SinkSource
from sinks.base.writer_port import CheckedWriter, MeteredWriter, StoreWriter
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
    open_writer: Callable[[Settings, Deployment], AbstractContextManager[CheckedWriter]]


@contextmanager
def _message_writer(settings: Settings, deployment: Deployment) -> Iterator[CheckedWriter]:
    with cassandra_session(settings) as session:
        with failures_by_kind():
            claim_store(session, settings, deployment)
        yield MessageWriter(session)


@contextmanager
def _sync_writer(settings: Settings, deployment: Deployment) -> Iterator[CheckedWriter]:
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
) -> AbstractContextManager[CheckedWriter]:
    # Elasticsearch's client takes 30 MB and 0.9 s of processor time in each process that
    # imports it. The other sinks do not need the client.
    from sinks.elasticsearch.search_stage import open_writer  # noqa: PLC0415

    return open_writer(settings, deployment)


def _push_writer(
    settings: Settings, deployment: Deployment
) -> AbstractContextManager[CheckedWriter]:
    # The libraries of HTTP and of encryption take memory that the other sinks do not need.
    from sinks.push.push_stage import open_push_writer  # noqa: PLC0415

    return open_push_writer(settings, deployment)


STAGES: Final = {
    "message": SinkStage(Topic.TIMELINE, Bounds(10_000, 16 * _MIB, 5_000), _message_writer),
    # A larger batch has more records of one recipient, which then take fewer rows.
    "sync": SinkStage(Topic.SYNC, Bounds(20_000, 16 * _MIB, 5_000), _sync_writer),
    "search": SinkStage(Topic.TIMELINE, Bounds(4_000, 8 * _MIB, 2_000), _search_writer),
    # A smaller batch begins sooner to be collapsed.
    "push": SinkStage(Topic.SYNC, Bounds(10_000, 16 * _MIB, 5_000), _push_writer),
}
"""The sinks by their name in ``python -m sinks``; the consumer group is ``sink-<name>``."""


def run_stage(name: str, settings: Settings, stop: Event) -> None:
    """Runs a sink until ``stop`` is set. Waits for its servers, at the start and at any time.

    Raises:
        FatalFailure: The process cannot continue. Any other error means the same.
        ConfigurationError: The metrics cannot be served at the address in the settings.
    """
    with monitored(settings, f"sink-{name}") as monitor, ExitStack() as stack:
        _run(STAGES[name], settings, stop, monitor, stack)


def _run(
    stage: SinkStage, settings: Settings, stop: Event, monitor: Monitor, stack: ExitStack
) -> None:
    group, topic = monitor.stage, settings.topic(stage.topic)
    source = source_of(stage, settings, group)
    config = sink_consumer_config(settings, group) | source.consumer_config
    commits = Commits()
    config["on_commit"] = commits.answered
    traces = open_traces(settings, group)
    if traces is not None:
        stack.callback(traces.close)
    spans = None if traces is None else SinkSpans(traces, group, source)
    consumer = Consumer(config) if spans is None else NotingConsumer(config, spans)
    try:
        deployment = await_deployment(settings, stop)
        if deployment is None:
            return  # stopped while it waited
        writer = _await_writer(stage, settings, deployment, stop, stack)
    except RetryableError:
        return  # stopped while it waited
    dead_letters = KafkaDeadLetters(settings, source, group)
    vitals, metrics = Vitals(), SinkMetrics(group, monitor.registry)
    if isinstance(writer, MeteredWriter):
        monitor.registry.register(writer.own_metrics)
    deliver = _deliver(writer, dead_letters, vitals, spans, metrics)
    _logger.info("%s reads %s", group, topic)
    watch = DeploymentWatch(settings, deployment)
    watch.start()
    stack.callback(watch.stop)
    loop = SinkLoop(
        consumer, commits, source, deliver, stage.bounds,
        listener=_listener(watch, writer), vitals=vitals,
    )  # fmt: skip
    watched = StageGroup(settings, group, loop.topics, loop.durable_places)
    watchdog = Watchdog(group, vitals, watched)
    watchdog.start()
    stack.callback(watchdog.stop)
    _add_checks(monitor, settings, writer, loop, vitals)
    loop.run(stop)
    _logger.info("%s has ended in order", group)


def _add_checks(
    monitor: Monitor, settings: Settings, writer: CheckedWriter, loop: SinkLoop, vitals: Vitals
) -> None:
    """Adds the lag, the liveness and the readiness of a sink."""

    def partitions() -> str | None:
        if not loop.has_joined:
            return "the consumer group has not given it its partitions yet"
        if len(loop.durable_places()) < vitals.owned:
            return "the last commits of its partitions are not known yet"
        return None

    admin = admin_client(settings)
    add_lag(monitor.registry, admin, monitor.stage, loop.durable_places)
    health = monitor.health
    health.live_while(vitals.not_live)
    health.ready_while(
        kafka=kafka_check(admin, settings), store=writer.not_reachable, partitions=partitions
    )
    health.begun()


def _deliver(
    writer: StoreWriter,
    dead_letters: DeadLetters,
    vitals: Vitals,
    spans: SinkSpans | None,
    metrics: SinkMetrics,
) -> Deliver:
    guard = PoisonGuard(PoisonLimits())
    if spans is None:
        return BatchDelivery(writer, dead_letters, guard, vitals, observer=metrics).deliver
    traced = BatchDelivery(writer, dead_letters, guard, vitals, spans.request_id, observer=metrics)
    return spans.delivering(traced.deliver)


class _IdentityCheck(PartitionListener):
    """Checks the identity of the topics after each assignment."""

    def __init__(self, watch: DeploymentWatch) -> None:
        self._watch = watch

    def assigned(self, numbers: Sequence[int]) -> None:  # noqa: ARG002 - the port's
        self._watch.check_soon()


def _listener(watch: DeploymentWatch, writer: StoreWriter) -> PartitionListener:
    """The watch, and a writer that has a state of each partition, hear of the partitions."""
    check = _IdentityCheck(watch)
    return PartitionListeners(check, writer) if isinstance(writer, PartitionListener) else check


def source_of(stage: SinkStage, settings: Settings, group: str) -> SinkSource:
    """The source of a stage."""
    if stage.topic is Topic.SYNC:
        return sync_source(settings, group)
    return OneTopic(settings.topic(stage.topic))


def _await_writer(
    stage: SinkStage, settings: Settings, deployment: Deployment, stop: Event, stack: ExitStack
) -> CheckedWriter:
    """Opens the writer; closing the stack closes the writer."""
    for attempt in attempts("opening the store", stop):
        with attempt:
            writer = stack.enter_context(stage.open_writer(settings, deployment))
    return writer
