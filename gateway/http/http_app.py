"""Composition root of the gateway."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable

from aiohttp import web
from prometheus_client import CollectorRegistry

from backends.processes.traces import Traces, open_traces
from backends.push_keys import application_server_key, vapid_key
from gateway import bounds
from gateway.contacts.address_log import KafkaAddressLog, LiveProducer, PushInputs
from gateway.contacts.connection_records import ConnectionRecords
from gateway.contacts.contact_log import Contacts, NoContacts, NotedContacts
from gateway.contacts.record_producer import ContactProducer, RecordProducer
from gateway.gateway_metrics import GatewayMetrics, SendOutcome
from gateway.http.command_routes import WRITING_GATEWAY, WritingGateway, add_command_routes
from gateway.http.connections import CONNECTIONS, Connections
from gateway.http.counting import counted
from gateway.http.cross_origin import cross_origin_headers
from gateway.http.deployment_guard import Checked, DeploymentGuard
from gateway.http.draining import DRAINING, Draining
from gateway.http.gateway_health import Health
from gateway.http.middleware import middlewares, prepare_headers
from gateway.http.page import add_page_routes
from gateway.http.pipeline_routes import PipelineView, add_pipeline_view
from gateway.http.push_routes import PushGate, add_push_routes
from gateway.http.request_places import PLACES, RequestPlaces
from gateway.http.request_spans import RequestSpans
from gateway.http.route_paths import route_pattern
from gateway.http.routes import GATEWAY, METRICS, ROUTES, WRITING_ROUTES, Gateway
from gateway.http.tokens import TokenVerifier, key_source
from gateway.limits.command_limits import CommandLimits
from gateway.log.barrier import NO_BARRIER, Barrier, LogBarrier
from gateway.log.delivery_spans import DeliverySpans
from gateway.log.log_ends import Ends, LogEnds, NoEnds
from gateway.log.log_tail import LogTail
from gateway.log.wake_ups import WakeUps
from gateway.pipeline.pipeline_reader import NoPipeline, PipelineReader, PipelineState
from gateway.reads.device_registry import NewDevices
from gateway.store.cassandra_store import CassandraStore
from gateway.store.coalescing import CoalescingStore
from gateway.store.elastic_index import ElasticIndex
from gateway.store.index_port import Index
from gateway.store.store_port import Store
from gateway.writes.command_answers import Writes
from gateway.writes.command_ids import CommandIds, new_process_number
from gateway.writes.command_producer import NO_COMMAND_LOG, CommandLog, CommandProducer
from gateway.writes.command_writer import CommandWriter
from gateway.writes.outcome_waiters import OutcomeWaiters
from gateway.writes.traced_commands import TracedCommands
from schemas.lifetime import contact_interval
from schemas.settings import Settings
from schemas.topics import Topic


def make_app(  # noqa: PLR0913 - the parts of the gateway
    settings: Settings,
    store: Store,
    index: Index,
    wake_ups: WakeUps,
    ends: Ends | None = None,
    *,
    checked: Checked | None = None,
    contacts: Contacts | None = None,
    barrier: Barrier = NO_BARRIER,
    writes: Writes | None = None,
    pipeline: PipelineState | None = None,
    traces: Traces | None = None,
    deliveries: DeliverySpans | None = None,
    push: PushInputs | None = None,
    metrics: GatewayMetrics | None = None,
) -> web.Application:
    """The gateway on an existing store and index.

    ``wake_ups`` wakes waiting readers; at the end of the gateway they are answered. A
    cursor ahead of ``ends`` is refused; without ``ends`` no cursor is. Data that is not
    ``checked`` is not served; without ``checked`` all data is. ``contacts`` records contacts;
    without ``contacts`` none are recorded. ``barrier`` waits for the message sink; without
    ``barrier`` the store counts as complete. ``writes`` has the parts that write; without
    ``writes`` the routes that write answer 503. ``pipeline`` reads the pipeline for operators;
    without ``pipeline`` there is none. ``traces`` makes spans of requests, and ``deliveries`` of
    live deliveries; without them there are none. ``push`` writes the inputs of the push stage;
    without ``push`` no device can register an address. ``metrics`` count the requests.

    Raises:
        ConfigurationError: The keys for tokens are missing or not safe.
    """
    keys = key_source(settings)
    checked = Checked(store=True, index=True) if checked is None else checked
    ends = NoEnds() if ends is None else ends
    contacts = NoContacts() if contacts is None else contacts
    metrics = GatewayMetrics(CollectorRegistry()) if metrics is None else metrics
    writes = writes_to(settings, NO_COMMAND_LOG) if writes is None else writes
    pipeline = NoPipeline() if pipeline is None else pipeline
    places = RequestPlaces()
    tokens = TokenVerifier(settings, keys)
    draining = Draining(wake_ups, settings.drain_notice.total_seconds())
    spans = RequestSpans(traces, settings.traces_ratio)
    layers = [
        counted(metrics),
        *middlewares(tokens, checked, places, settings.permitted_origins, draining, spans),
    ]
    app = web.Application(middlewares=layers, client_max_size=bounds.MAX_BODY_BYTES)
    app[PLACES], app[DRAINING], app[CONNECTIONS] = places, draining, Connections()
    app[METRICS] = metrics
    metrics.show(
        in_progress=lambda: places.in_hand,
        connections=lambda: len(app[CONNECTIONS]),
        listeners=lambda: wake_ups.listeners,
        follows_log=lambda: wake_ups.is_live,
    )
    health = Health(store, index, wake_ups, checked, draining)
    new = NewDevices(settings.new_device, settings.new_device_window)
    shared = CoalescingStore(store)
    app[GATEWAY] = Gateway(
        shared, index, health, wake_ups, new, ends, contacts, barrier, deliveries
    )
    view = PipelineView(settings.operator_ids, pipeline, health, wake_ups)
    add_pipeline_view(app, view)
    for path, handler in ROUTES:
        app.router.add_get(route_pattern(path), handler)
    for method, path, handler in WRITING_ROUTES:
        app.router.add_route(method, route_pattern(path), handler)

    policy = settings.outbound_policy
    add_push_routes(app, PushGate(shared, PushInputs() if push is None else push, policy))
    app[WRITING_GATEWAY] = WritingGateway(writes, shared, spans)
    add_command_routes(app)
    add_page_routes(app)
    app.on_response_prepare.append(prepare_headers)
    app.on_response_prepare.append(cross_origin_headers(settings.permitted_origins))

    async def follow_keys(_app: web.Application) -> AsyncIterator[None]:
        async with keys.running():
            yield

    app.cleanup_ctx.append(follow_keys)
    return app


def writes_to(
    settings: Settings,
    commands: CommandLog,
    clock: Callable[[], int] = time.monotonic_ns,
    count: Callable[[SendOutcome], None] = lambda _: None,
) -> Writes:
    """The parts that write commands to ``commands``, with no command yet.

    ``clock`` is the time of the limits of commands, in nanoseconds from any origin. ``count``
    counts the outcome of each command.
    """
    waiters = OutcomeWaiters()
    wait_seconds = settings.write_wait.total_seconds()
    admission = CommandLimits(settings, clock)
    writer = CommandWriter(
        commands, waiters, settings.limits, wait_seconds, admission, count=count
    )
    return Writes(writer, waiters, CommandIds(new_process_number()))


async def compose(settings: Settings, metrics: GatewayMetrics | None = None) -> web.Application:
    """The gateway on Cassandra, Elasticsearch and Kafka. It connects when the application starts.

    Args:
        settings: The deployment.
        metrics: Count the requests and what they do.

    Raises:
        ConfigurationError: The keys for tokens are missing or not safe, or the key of Web Push
            is not valid.
    """
    store, index = CassandraStore(settings), ElasticIndex(settings)
    wake_ups = WakeUps()
    commands = CommandProducer(settings, lambda: wake_ups.is_live)
    traces, deliveries = open_traces(settings, "gateway"), None
    command_log: CommandLog = commands
    if traces is not None:
        deliveries = DeliverySpans(traces)
        command_log = TracedCommands(commands, traces, settings.topic(Topic.MESSAGES))
    metrics = GatewayMetrics(CollectorRegistry()) if metrics is None else metrics
    writes = writes_to(settings, command_log, count=metrics.sent)
    tail = LogTail(settings, wake_ups, writes.waiters, deliveries)
    guard = DeploymentGuard(settings)
    pipeline = PipelineReader(settings)
    producer = RecordProducer(settings)
    live = ConnectionRecords(LiveProducer(settings, producer, uuid.uuid4().hex))

    async def servers(_app: web.Application) -> AsyncIterator[None]:
        producer.start()
        renewing = asyncio.create_task(live.run())
        store.start()
        tail.start()
        commands.start()
        guard.start()
        yield
        guard.stop()
        await pipeline.stop()
        await commands.stop()
        await tail.stop()
        await index.stop()
        await store.stop()
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        await producer.stop()
        if traces is not None:
            await asyncio.to_thread(traces.close)

    ends, barrier = LogEnds(settings, wake_ups), LogBarrier(settings)
    contacts: Contacts = NoContacts()
    if settings.skip_inactive:
        interval = contact_interval(settings.sync_lifetime)
        appender = ContactProducer(settings, producer)
        contacts = NotedContacts(appender, interval.total_seconds())
    key = vapid_key(settings)
    push = PushInputs(
        KafkaAddressLog(settings, producer), live, key and application_server_key(key)
    )
    app = make_app(
        settings, store, index, wake_ups, ends,
        checked=guard.checked, contacts=contacts, barrier=barrier, writes=writes,
        pipeline=pipeline, traces=traces, deliveries=deliveries, push=push, metrics=metrics,
    )  # fmt: skip
    app.cleanup_ctx.append(servers)
    return app
