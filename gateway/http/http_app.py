"""Composition root of the gateway."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from gateway import bounds
from gateway.contacts.contact_log import Contacts, NoContacts, NotedContacts
from gateway.contacts.contact_producer import ContactProducer
from gateway.http.command_routes import WRITING_GATEWAY, WritingGateway, add_command_routes
from gateway.http.connections import CONNECTIONS, Connections
from gateway.http.cross_origin import cross_origin_headers
from gateway.http.deployment_guard import Checked, DeploymentGuard
from gateway.http.draining import DRAINING, Draining
from gateway.http.gateway_health import Health
from gateway.http.middleware import middlewares, prepare_headers
from gateway.http.page import add_page_routes
from gateway.http.pipeline_routes import PipelineView, add_pipeline_view
from gateway.http.request_places import PLACES, RequestPlaces
from gateway.http.route_paths import route_pattern
from gateway.http.routes import GATEWAY, ROUTES, WRITING_ROUTES, Gateway
from gateway.http.tokens import TokenVerifier, key_source
from gateway.limits.command_limits import CommandLimits
from gateway.log.barrier import NO_BARRIER, Barrier, LogBarrier
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
from schemas.lifetime import contact_interval
from schemas.settings import Settings


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
) -> web.Application:
    """The gateway on an existing store and index.

    ``wake_ups`` wakes waiting readers; at the end of the gateway they are answered. A
    cursor ahead of ``ends`` is refused; without ``ends`` no cursor is. Data that is not
    ``checked`` is not served; without ``checked`` all data is. ``contacts`` records contacts;
    without ``contacts`` none are recorded. ``barrier`` waits for the message sink; without
    ``barrier`` the store counts as complete. ``writes`` has the parts that write; without
    ``writes`` the routes that write answer 503. ``pipeline`` reads the pipeline for operators;
    without ``pipeline`` there is none.

    Raises:
        ConfigurationError: The keys for tokens are missing or not safe.
    """
    keys = key_source(settings)
    checked = Checked(store=True, index=True) if checked is None else checked
    ends = NoEnds() if ends is None else ends
    contacts = NoContacts() if contacts is None else contacts
    writes = writes_to(settings, NO_COMMAND_LOG) if writes is None else writes
    pipeline = NoPipeline() if pipeline is None else pipeline
    places = RequestPlaces()
    tokens = TokenVerifier(settings, keys)
    draining = Draining(wake_ups, settings.drain_notice.total_seconds())
    layers = middlewares(tokens, checked, places, settings.permitted_origins, draining)
    app = web.Application(middlewares=layers, client_max_size=bounds.MAX_BODY_BYTES)
    app[PLACES], app[DRAINING], app[CONNECTIONS] = places, draining, Connections()
    health = Health(store, index, wake_ups, checked, draining)
    new = NewDevices(settings.new_device, settings.new_device_window)
    shared = CoalescingStore(store)
    app[GATEWAY] = Gateway(shared, index, health, wake_ups, new, ends, contacts, barrier)
    view = PipelineView(settings.operator_ids, pipeline, health, wake_ups)
    add_pipeline_view(app, view)
    for path, handler in ROUTES:
        app.router.add_get(route_pattern(path), handler)
    for method, path, handler in WRITING_ROUTES:
        app.router.add_route(method, route_pattern(path), handler)

    app[WRITING_GATEWAY] = WritingGateway(writes, shared)
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
    settings: Settings, commands: CommandLog, clock: Callable[[], int] = time.monotonic_ns
) -> Writes:
    """The parts that write commands to ``commands``, with no command yet.

    ``clock`` is the time of the limits of commands, in nanoseconds from any origin.
    """
    waiters = OutcomeWaiters()
    wait_seconds = settings.write_wait.total_seconds()
    admission = CommandLimits(settings, clock)
    writer = CommandWriter(commands, waiters, settings.limits, wait_seconds, admission)
    return Writes(writer, waiters, CommandIds(new_process_number()))


async def compose(settings: Settings) -> web.Application:
    """The gateway on Cassandra, Elasticsearch and Kafka. It connects when the application starts.

    Raises:
        ConfigurationError: The keys for tokens are missing or not safe.
    """
    store, index = CassandraStore(settings), ElasticIndex(settings)
    wake_ups = WakeUps()
    commands = CommandProducer(settings, lambda: wake_ups.is_live)
    writes = writes_to(settings, commands)
    tail = LogTail(settings, wake_ups, writes.waiters)
    guard = DeploymentGuard(settings)
    pipeline = PipelineReader(settings)
    contact_producer = ContactProducer(settings) if settings.skip_inactive else None

    async def servers(_app: web.Application) -> AsyncIterator[None]:
        if contact_producer is not None:
            contact_producer.start()
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
        if contact_producer is not None:
            await contact_producer.stop()

    ends, barrier = LogEnds(settings, wake_ups), LogBarrier(settings)
    contacts: Contacts = NoContacts()
    if contact_producer is not None:
        interval = contact_interval(settings.sync_lifetime)
        contacts = NotedContacts(contact_producer, interval.total_seconds())
    app = make_app(
        settings, store, index, wake_ups, ends,
        checked=guard.checked, contacts=contacts, barrier=barrier, writes=writes,
        pipeline=pipeline,
    )  # fmt: skip
    app.cleanup_ctx.append(servers)
    return app
