"""The stage ``webhooks``: delivers events to all subscriptions, in one process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from threading import Event, Thread
from typing import Any, Final

from confluent_kafka import Consumer

from backends.identity.identity_watch import DeploymentWatch, await_deployment
from backends.kafka.clients import admin_client
from backends.monitoring.monitor import kafka_check, monitored
from backends.monitoring.outbound_catalog import WEBHOOK_RECEIVER
from backends.processes.watchdog import NoGroup, Vitals, Watchdog
from backends.stages.webhook_log import WEBHOOKS_STAGE, SubscriptionLog, subscription_stage
from schemas.errors import FatalFailure, RetryableError
from schemas.records import AnyEntry
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.webhooks import MAX_WEBHOOKS, WebhookSubscription
from sinks.base.commits import Commits
from sinks.base.consumer import sink_consumer_config
from sinks.base.replay_book import ReplayBook, ReplayEnds, ReplayThread
from sinks.base.retry import attempts
from sinks.base.sink_letters import DeadLetter, DeadLetters, KafkaDeadLetters
from sinks.base.source import OneTopic
from sinks.outbound.destination_sender import DestinationSender, SenderBounds
from sinks.outbound.http_delivery import HttpDelivery
from sinks.outbound.outbound_metrics import OutboundMetrics, ReceiverMetrics
from sinks.webhooks.event_lane import REQUEST_END_SECONDS, EventOutcome
from sinks.webhooks.event_replays import EventReplays, event_group
from sinks.webhooks.event_requests import Attempts, EventRequests
from sinks.webhooks.recall_scout import RecallScout, ends_by
from sinks.webhooks.replayed_records import ReplayedRecords
from sinks.webhooks.runner_parts import RunnerParts
from sinks.webhooks.subscription_runner import SubscriptionRunner

_FOLLOW_SECONDS: Final = 0.5
_FORGET_SECONDS: Final = 60.0
_STOP_SECONDS: Final = REQUEST_END_SECONDS + 10

_BOUNDS: Final = SenderBounds(waiting=5_000, concurrency=16, attempt=20.0)
"""A subscription has at most one event of each partition in flight, so it is never full."""

_logger = logging.getLogger(__name__)


def run_webhooks(settings: Settings, stop: Event) -> None:
    """Runs the stage until ``stop`` is set. Waits for its servers, at the start and at any time.

    Without subscriptions the process reads nothing but the topic of subscriptions.

    Raises:
        FatalFailure: The process cannot continue. Any other error means the same.
    """
    with monitored(settings, WEBHOOKS_STAGE) as monitor, ExitStack() as stack:
        deployment = await_deployment(settings, stop)
        if deployment is None:
            return  # stopped while it waited
        log = SubscriptionLog(settings)
        stack.callback(log.close)
        try:
            for attempt in attempts("reading the webhooks", stop):
                with attempt:
                    log.read()
        except RetryableError:
            return  # stopped while it waited
        watch = DeploymentWatch(settings, deployment)
        watch.start()
        stack.callback(watch.stop)
        vitals = Vitals()
        monitor.health.live_while(vitals.not_live)
        monitor.health.ready_while(kafka=kafka_check(admin_client(settings), settings))
        monitor.health.begun()
        outbound = OutboundMetrics(monitor.registry, (WEBHOOK_RECEIVER,))
        metrics = ReceiverMetrics(outbound, WEBHOOK_RECEIVER)

        def stage(http: HttpDelivery) -> WebhookStage:
            return WebhookStage(settings, http, watch.check_soon, metrics)

        asyncio.run(_run(settings, log, stage, vitals, stop))
    _logger.info("%s has ended in order", WEBHOOKS_STAGE)


async def _run(
    settings: Settings,
    log: SubscriptionLog,
    make: Callable[[HttpDelivery], WebhookStage],
    vitals: Vitals,
    stop: Event,
) -> None:
    async with HttpDelivery(settings.outbound_policy) as http:
        stage = make(http)
        loop = asyncio.get_running_loop()
        forget_at = loop.time() + _FORGET_SECONDS
        try:
            while not stop.is_set():
                vitals.beat(1, has_moved=True)
                stage.follow(log.subscriptions)
                stage.check()
                if loop.time() >= forget_at:
                    forget_at = loop.time() + _FORGET_SECONDS
                    stage.forget_recalls()
                await asyncio.to_thread(log.follow, _FOLLOW_SECONDS)
        finally:
            await asyncio.to_thread(stage.close)


class WebhookStage:
    """The runners of all subscriptions.

    Args:
        settings: The deployment.
        http: Sends the requests, in the running event loop.
        assigned: Called after an assignment of partitions; must not block.
        metrics: The metrics of all webhooks.
    """

    def __init__(
        self,
        settings: Settings,
        http: HttpDelivery,
        assigned: Callable[[], None],
        metrics: ReceiverMetrics,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._assigned = assigned
        self._loop = asyncio.get_running_loop()
        self._failure: FatalFailure | None = None
        self._scout = RecallScout(settings, failed=self._failed)
        retry_seconds = settings.webhook_retry_for.total_seconds()
        self._requests = EventRequests(
            http, DestinationSender(_BOUNDS), self._scout, retry_seconds, metrics=metrics
        )
        book = ReplayBook(event_group, ReplayEnds(settings).write)
        self._records = ReplayedRecords(settings)
        self._replays = EventReplays(book, self._records.read, self._scout)
        self._replay_thread = ReplayThread(settings, book, self._replays.read_wanted)
        self._replay_thread.start()
        self._running: dict[str, _Running] = {}

    def follow(self, subscriptions: dict[str, WebhookSubscription]) -> None:
        """Starts, updates and stops runners, so that they are those of the subscriptions."""
        for gone in self._running.keys() - subscriptions.keys():
            self._running.pop(gone).stop.set()
        for subscription in list(subscriptions.values())[:MAX_WEBHOOKS]:
            running = self._running.get(subscription.id)
            if running is None:
                self._running[subscription.id] = self._start(subscription)
            else:
                running.runner.update(subscription)

    def check(self) -> None:
        """Raises the error of a thread."""
        if self._failure is not None:
            raise self._failure

    def forget_recalls(self) -> None:
        """Forgets the recalls that all subscriptions and all replays have passed."""
        lowest: dict[int, Any] = {}
        for webhook, running in self._running.items():
            for partition, offset in running.runner.positions().items():
                replayed = self._replays.lowest(subscription_stage(webhook), partition)
                passed = offset if replayed is None else min(offset, replayed)
                lowest[partition] = min(passed, lowest.get(partition, passed))
        for partition, offset in lowest.items():
            self._scout.forget_below(partition, offset)

    def close(self) -> None:
        """Stops all runners, and waits for their requests in flight within a bound."""
        for running in self._running.values():
            running.stop.set()
        for running in self._running.values():
            running.thread.join(_STOP_SECONDS)
        self._replay_thread.stop()
        self._records.close()
        self._scout.close()

    def _start(self, subscription: WebhookSubscription) -> _Running:
        name = subscription_stage(subscription.id)
        commits, vitals, stop = Commits(), Vitals(), Event()
        config = _consumer_config(self._settings, name) | {"on_commit": commits.answered}
        topic = self._settings.topic(Topic.TIMELINE)
        open_letters = partial(KafkaDeadLetters, self._settings, OneTopic(topic), name)
        letters = _LateLetters(open_letters, self._metrics)
        parts = RunnerParts(
            Consumer(config), commits, self._deliver, letters, self._replays, self._scout,
            self._assigned, vitals,
        )  # fmt: skip
        runner = SubscriptionRunner(subscription, topic, parts)
        thread = Thread(target=self._guarded, args=(runner, vitals, stop), name=name, daemon=True)
        thread.start()
        return _Running(runner, stop, thread)

    def _guarded(self, runner: SubscriptionRunner, vitals: Vitals, stop: Event) -> None:
        watchdog = Watchdog(WEBHOOKS_STAGE, vitals, NoGroup())
        watchdog.start()
        try:
            runner.run(stop)
        except Exception as error:  # noqa: BLE001 - raised by `check`
            self._failed(error)
        finally:
            watchdog.stop()

    def _failed(self, error: Exception) -> None:
        _logger.error("a webhook cannot continue: %s", type(error).__name__)
        self._failure = ends_by(error)

    def _deliver(
        self,
        subscription: WebhookSubscription,
        partition: int,
        entry: AnyEntry,
        noted: Attempts,
    ) -> Future[EventOutcome]:
        delivery = self._requests.deliver(subscription, partition, entry, noted)
        return asyncio.run_coroutine_threadsafe(delivery, self._loop)


class _Running:
    """A runner and its thread."""

    def __init__(self, runner: SubscriptionRunner, stop: Event, thread: Thread) -> None:
        self.runner = runner
        self.stop = stop
        self.thread = thread


class _LateLetters:
    """Opens the producer of dead letters with the first letter; most runners never need it."""

    def __init__(self, open_letters: Callable[[], DeadLetters], metrics: ReceiverMetrics) -> None:
        self._open = open_letters
        self._metrics = metrics
        self._letters: DeadLetters | None = None

    def send(self, letters: Sequence[DeadLetter]) -> None:
        """See `sinks.base.sink_letters.DeadLetters`."""
        if self._letters is None:
            self._letters = self._open()
        self._letters.send(letters)
        for _ in letters:
            self._metrics.dead_letter()


def _consumer_config(settings: Settings, stage: str) -> dict[str, Any]:
    return sink_consumer_config(settings, stage) | {
        # A subscription without a position must not receive all events since the beginning.
        "auto.offset.reset": "error",
        "max.partition.fetch.bytes": 256 * 1024,
        "queued.max.messages.kbytes": 2 * 1024,
        "queued.min.messages": 1_000,
    }
