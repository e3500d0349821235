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
from typing import Any, cast

import faust
from confluent_kafka import Consumer
from faust.types import TP

from backends.kafka.clients import consumer_config
from backends.kafka.stage_group import StageGroup
from backends.processes.watchdog import Vitals, Watchdog
from schemas.errors import FatalFailure
from schemas.number_types import Offset
from schemas.settings import Settings
from schemas.topics import Topic
from stream_processors.commit.lane_destinations import lane_destinations
from stream_processors.commit.transaction import COMMIT_LIMIT_SECONDS, TRANSACTION_SECONDS
from stream_processors.commit.turns import Turns
from stream_processors.faust_app.client_watch import watch
from stream_processors.faust_app.fetching import HoldingApp, HoldingConsumer, install_unpacking
from stream_processors.faust_app.scheduler import ChunkScheduler
from stream_processors.lanes.inbox import Feed
from stream_processors.lanes.lane import Lane, SharedByLanes

log = logging.getLogger(__name__)

_CHUNK_RECORDS = 2_000
"""Records of one partition in a chunk: some 10 ms of unpacking, while all other threads wait."""
_FETCH_BYTES = 1024 * 1024
"""Compressed bytes of one partition in a fetch. A single larger batch is fetched as a whole."""

_SESSION_SECONDS = 10.0
_HEARTBEAT_SECONDS = 3.0


class Lanes:
    """The lanes of the partitions that this worker owns.

    Args:
        settings: The settings of the deployment.
        feed: Makes the feed of a partition.
        check: Checks the deployment's topics before a lane begins.
    """

    def __init__(
        self, settings: Settings, feed: Callable[[int], Feed], check: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._feed = feed
        self._lanes: dict[int, Lane] = {}
        self._shared = SharedByLanes(
            # Never subscribes: it only identifies the group for the transactions.
            group=Consumer(consumer_config(settings, settings.group("sequencer"))),
            turns=Turns(),
            destinations=lane_destinations(settings, self._wake),
            check=check,
        )
        self._vitals = Vitals(write_limit=COMMIT_LIMIT_SECONDS)
        messages_topic = settings.topic(Topic.MESSAGES)
        watched = StageGroup(settings, "sequencer", lambda: [messages_topic], list)
        self._watchdog = Watchdog("the sequencer", self._vitals, watched)
        self._watchdog.start()

    def beat(self) -> None:
        """Reports that the event loop runs. Each lane checks for itself whether records wait."""
        lanes = list(self._lanes.values())
        begun = [lane.committing_since for lane in lanes]
        self._vitals.writing_since = min((at for at in begun if at is not None), default=None)
        self._vitals.beat(len(lanes), has_moved=True)

    def open(self, partitions: Iterable[int]) -> None:
        """Starts a lane for each partition that has none."""
        for partition in partitions:
            if partition not in self._lanes:
                self._lanes[partition] = Lane(
                    self._settings, partition, self._shared, self._feed(partition)
                )

    def _wake(self) -> None:
        for lane in list(self._lanes.values()):
            lane.wake()

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


def make_worker(settings: Settings, check: Callable[[], None] = lambda: None) -> faust.App:
    """The app of one worker, the only one in its process. Start it with `faust.Worker`.

    Args:
        settings: The settings of the deployment.
        check: Called when a lane begins; raises `FatalFailure` if the topics do not match.
    """
    install_unpacking()
    app = HoldingApp(
        settings.group("sequencer"),
        broker=[f"kafka://{host}" for host in settings.kafka_bootstrap.split(",")],
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
    _attach(app, settings, check)
    return app


def _attach(app: faust.App, settings: Settings, check: Callable[[], None]) -> None:
    # acks=False: Faust must not commit, because one event is many records.
    source = app.topic(
        settings.topic(Topic.MESSAGES), value_serializer="raw", value_type=bytes, acks=False
    )
    topic_name = source.get_topic_name()

    lanes = Lanes(settings, partial(FaustFeed, app, topic_name), check)

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


def _connect(signal: Any, handler: Any) -> None:
    # Untyped, because the library's type requires a handler of any positional arguments.
    signal.connect(handler)
