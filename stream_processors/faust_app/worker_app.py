"""The Faust app: fetches chunks of ``im.messages`` and passes each chunk to its partition's lane.

Faust handles group membership, rebalancing, fetching and back-pressure. Its features that can lose
messages are not used (see docs/adr): no Table, no producer and no commits of Faust. The lanes
commit offsets inside their transactions.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, cast

import faust
from confluent_kafka import Consumer, TopicPartition
from faust.types import TP

from backends.kafka.clients import admin_client, consumer_config
from backends.kafka.stage_group import StageGroup
from backends.monitoring.lag import add_lag
from backends.monitoring.monitor import Monitor, kafka_check, unserved_monitor
from backends.processes.traces import open_traces
from backends.processes.watchdog import Vitals, Watchdog
from backends.stages.stage_names import SEQUENCER
from schemas.errors import FatalFailure
from schemas.number_types import Offset
from schemas.settings import Settings
from schemas.topics import Topic
from stream_processors.commit.claims import KafkaClaimBroker, WriterClaims
from stream_processors.commit.lane_destinations import lane_destinations
from stream_processors.commit.producer_settings import COMMIT_LIMIT_SECONDS, TRANSACTION_SECONDS
from stream_processors.commit.turns import Turns
from stream_processors.faust_app.broker_credentials import broker_credentials
from stream_processors.faust_app.client_watch import watch
from stream_processors.faust_app.fetching import HoldingApp, HoldingConsumer, install_unpacking
from stream_processors.faust_app.scheduler import ChunkScheduler
from stream_processors.lanes.inbox import Feed
from stream_processors.lanes.lane import Lane, SharedByLanes
from stream_processors.lanes.lane_metrics import SequencerMetrics
from stream_processors.lanes.writer import Writer

log = logging.getLogger(__name__)

_CHUNK_RECORDS = 2_000
"""Records of one partition in a chunk: some 10 ms of unpacking, while all other threads wait."""
_FETCH_BYTES = 1024 * 1024
"""Compressed bytes of one partition in a fetch. A single larger batch is fetched as a whole."""

WRITERS: Final = 2
"""Writers of a worker: one commits while the other computes. More writers make more transactions,
each with its price (ADR 59)."""

_SESSION_SECONDS = 10.0
_HEARTBEAT_SECONDS = 3.0


class Lanes:
    """The lanes of the partitions that this worker owns.

    Args:
        settings: The settings of the deployment.
        feed: Makes the feed of a partition.
        check: Checks the deployment's topics before a lane begins.
        metrics: Count the transactions of all lanes.
    """

    def __init__(
        self,
        settings: Settings,
        feed: Callable[[int], Feed],
        check: Callable[[], None],
        metrics: SequencerMetrics,
    ) -> None:
        self._settings = settings
        self._has_joined = False
        self._feed = feed
        self._lanes: dict[int, Lane] = {}
        self._traces = open_traces(settings, "sequencer")
        # Never subscribes: it only identifies the group for the transactions.
        group = Consumer(consumer_config(settings, settings.group("sequencer")))
        self._writers: list[Writer] = []
        destinations = lane_destinations(settings, self._wake)
        turns = Turns()
        self._make_writer: Callable[[], Writer] = partial(
            Writer, settings, group.consumer_group_metadata, turns, destinations.newest_epoch,
            metrics,
        )  # fmt: skip
        self._shared = SharedByLanes(
            group=group,
            claims=WriterClaims(
                settings, KafkaClaimBroker(settings), group.consumer_group_metadata
            ),
            destinations=destinations,
            check=check,
            traces=self._traces,
            metrics=metrics,
        )
        self.vitals = Vitals(write_limit=COMMIT_LIMIT_SECONDS)
        self._messages = settings.topic(Topic.MESSAGES)
        watched = StageGroup(settings, "sequencer", lambda: [self._messages], list)
        self._watchdog = Watchdog("the sequencer", self.vitals, watched)
        self._watchdog.start()

    def beat(self) -> None:
        """Reports that the event loop runs. Each lane checks for itself whether records wait."""
        lanes = list(self._lanes.values())
        begun = [writer.committing_since for writer in self._writers]
        self.vitals.writing_since = min((at for at in begun if at is not None), default=None)
        self.vitals.beat(len(lanes), has_moved=True)

    def open(self, partitions: Iterable[int]) -> None:
        """Starts a lane for each partition that has none."""
        self._has_joined = True
        self._writers = self._writers or [self._make_writer() for _ in range(WRITERS)]
        for partition in partitions:
            if partition not in self._lanes:
                writer = self._writers[len(self._lanes) % WRITERS]
                self._lanes[partition] = Lane(
                    self._settings, partition, self._shared, writer, self._feed(partition)
                )

    def places(self) -> list[TopicPartition]:
        """The position of each lane that has its state. Thread-safe."""
        return [
            TopicPartition(self._messages, partition, lane.position)
            for partition, lane in list(self._lanes.items())
            if lane.position is not None
        ]

    def not_ready(self) -> str | None:
        """The reason why the lanes are not ready; None if they are. Thread-safe."""
        if not self._has_joined:
            return "the consumer group has not given it its partitions yet"
        waiting = [number for number, lane in list(self._lanes.items()) if lane.position is None]
        return f"the state of {len(waiting)} partitions is being restored" if waiting else None

    def _wake(self) -> None:
        for writer in self._writers:
            writer.wake()

    async def close(self, partitions: Iterable[int]) -> None:
        """Ends these lanes after their running transactions, which get a bounded time."""
        closed = [self._lanes.pop(partition, None) for partition in partitions]
        lanes = [lane for lane in closed if lane is not None]
        for lane in lanes:
            lane.stop()
        await asyncio.to_thread(_join, lanes)

    async def close_all(self) -> None:
        """Ends all lanes after their running transactions."""
        self._watchdog.stop()
        await self.close(list(self._lanes))
        for writer in self._writers:
            writer.stop()
        if self._traces is not None:
            await asyncio.to_thread(self._traces.close)

    def put(self, partition: int, chunk: list[Any]) -> None:
        """Passes a chunk to its lane. A chunk of a partition without a lane is dropped."""
        lane = self._lanes.get(partition)
        if lane is not None:
            lane.put(chunk)


def _join(lanes: Iterable[Lane]) -> None:
    deadline = time.monotonic() + TRANSACTION_SECONDS
    for lane in lanes:
        lane.join(max(0.0, deadline - time.monotonic()))


class FaustFeed:
    """A `stream_processors.lanes.inbox.Feed`: a source partition that Faust's consumer fetches.

    Args:
        app: The app with the consumer.
        topic: The source topic.
        partition: A partition of the topic.
    """

    def __init__(self, app: faust.App, topic: str, partition: int) -> None:
        self._consumer = cast(HoldingConsumer, app.consumer)
        self._place = topic, partition
        self._starting: asyncio.Task[None] | None = None

    def hold(self, on_hold: bool) -> None:  # noqa: FBT001 - the only argument
        """See `Feed.hold`."""
        self._consumer.set_on_hold(*self._place, on_hold)

    def start_at(self, offset: Offset) -> None:
        """See `Feed.start_at`."""
        self._starting = asyncio.create_task(self._consumer.start_at(*self._place, offset))


def make_worker(
    settings: Settings,
    check: Callable[[], None] = lambda: None,
    monitor: Monitor | None = None,
) -> faust.App:
    """The app of one worker, the only one in its process. Start it with `faust.Worker`.

    Args:
        settings: The settings of the deployment.
        check: Called when a lane begins; raises `FatalFailure` if the topics do not match.
        monitor: Serves the metrics and the health of the worker.
    """
    install_unpacking()
    app = HoldingApp(
        settings.group("sequencer"),
        broker=[f"kafka://{host}" for host in settings.kafka_bootstrap.split(",")],
        broker_credentials=broker_credentials(settings),
        datadir=settings.home / "faust",
        store="memory://",
        ConsumerScheduler=ChunkScheduler,
        consumer_auto_offset_reset="earliest",
        broker_max_poll_records=_CHUNK_RECORDS,
        consumer_max_fetch_size=_FETCH_BYTES,
        broker_session_timeout=_SESSION_SECONDS,
        broker_heartbeat_interval=_HEARTBEAT_SECONDS,
        stream_buffer_maxsize=64,
        stream_wait_empty=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
    )
    _attach(app, settings, check, monitor or unserved_monitor(SEQUENCER))
    return app


def _attach(
    app: faust.App, settings: Settings, check: Callable[[], None], monitor: Monitor
) -> None:
    # acks=False: Faust must not commit, because one event is many records.
    source = app.topic(
        settings.topic(Topic.MESSAGES), value_serializer="raw", value_type=bytes, acks=False
    )
    topic_name = source.get_topic_name()

    metrics = SequencerMetrics(monitor.registry)
    lanes = Lanes(settings, partial(FaustFeed, app, topic_name), check, metrics)
    _add_checks(monitor, settings, lanes)

    def partitions(assigned: Iterable[TP]) -> list[int]:
        return sorted(tp.partition for tp in assigned if tp.topic == topic_name)

    async def open_lanes(_app: Any, assigned: set[TP], **_: Any) -> None:
        lanes.open(partitions(assigned))

    async def close_lanes(_app: Any, revoked: set[TP], **_: Any) -> None:
        await lanes.close(partitions(revoked))

    async def close_all_lanes(_app: Any, **_: Any) -> None:
        await lanes.close_all()

    @app.agent(source, concurrency=1)
    async def sequence(chunks: faust.StreamT[Any]) -> None:
        try:
            async for event in chunks.events():
                lanes.put(event.message.partition, event.value)
        # Faust would acknowledge the event and continue.
        except Exception:
            log.critical("the sequencer cannot continue", exc_info=True)
            os._exit(FatalFailure.exit_code)

    watch(app, lanes.beat)
    _connect(app.on_partitions_assigned, open_lanes)
    _connect(app.on_partitions_revoked, close_lanes)
    _connect(app.on_before_shutdown, close_all_lanes)


def _add_checks(monitor: Monitor, settings: Settings, lanes: Lanes) -> None:
    """Adds the lag, the liveness and the readiness of the worker."""
    admin = admin_client(settings)
    add_lag(monitor.registry, admin, monitor.stage, lanes.places)
    health = monitor.health
    health.live_while(lanes.vitals.not_live)
    health.ready_while(kafka=kafka_check(admin, settings), partitions=lanes.not_ready)
    health.begun()


def _connect(signal: Any, handler: Any) -> None:
    # Untyped, because the library's type requires a handler of any positional arguments.
    signal.connect(handler)
