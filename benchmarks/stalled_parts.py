"""The parts of the deployment that `benchmarks.broker_stalls` runs while the broker stalls."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Final

from confluent_kafka import Consumer, Producer

from backends.kafka.clients import producer_config
from backends.kafka.stage_group import StageGroup
from backends.processes.watchdog import Vitals, Watchdog
from benchmarks.workload import CONVERSATIONS, creation, message
from schemas.codec import encode
from schemas.errors import FatalFailure
from schemas.settings import Settings
from schemas.topics import Topic
from sinks.base.commits import Commits
from sinks.base.consumer import sink_consumer_config
from sinks.base.counts import NO_COUNTS, CountsOf
from sinks.base.loop import SinkLoop
from sinks.base.records import Bounds, Record
from sinks.base.source import OneTopic

LOOPS_BY_GROUP: Final = {f"alone-{n}": 1 for n in range(8)} | {f"pair-{n}": 2 for n in range(4)}
"""Number of loops in each group: 16 in all."""

_BOUNDS: Final = Bounds(10_000, 16 * 1024 * 1024, 5_000)

_PAUSE_SECONDS: Final = 0.01
"""Pause between two messages."""

SETTLE_SECONDS: Final = 60.0
"""Maximum time in which all parts start, stop or send their records."""


def _deliver(_records: Sequence[Record], _abandon: Event) -> CountsOf:
    return NO_COUNTS


class StalledLoops:
    """Consume loops with an in-memory store, each in a thread with the watchdog of a sink.

    A loop that fails, or that its watchdog ends, is restarted, as a supervisor does.

    Attributes:
        failures: Group and error of each loop that failed.
        ended: Group and reason of each loop that its watchdog ended.
    """

    def __init__(self, settings: Settings, overrides: dict[str, int]) -> None:
        self.failures: list[str] = []
        self.ended: list[str] = []
        self._settings = settings
        self._overrides = overrides
        self._stop = Event()
        self._running: set[Event] = set()
        self._threads = [
            Thread(target=self._restart_forever, args=(group,), name=f"{group}.{n}", daemon=True)
            for group, count in LOOPS_BY_GROUP.items()
            for n in range(count)
        ]

    def start(self) -> None:
        """Starts all loops."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends all loops, within a bound."""
        self._stop.set()
        for stop in list(self._running):
            stop.set()
        for thread in self._threads:
            thread.join(SETTLE_SECONDS)

    def _restart_forever(self, group: str) -> None:
        while not self._stop.is_set():
            stop = Event()
            self._running.add(stop)
            try:
                self._run(group, stop)
            except Exception as error:  # noqa: BLE001 - every error is counted
                self.failures.append(f"{group}: {error}")
            self._running.discard(stop)

    def _run(self, group: str, stop: Event) -> None:
        config = sink_consumer_config(self._settings, group) | self._overrides
        commits, vitals = Commits(), Vitals()
        consumer = Consumer(config | {"on_commit": commits.answered})
        source = OneTopic(self._settings.topic(Topic.TIMELINE))
        loop = SinkLoop(consumer, commits, source, _deliver, _BOUNDS, vitals=vitals)

        def end(failure: FatalFailure) -> None:
            self.ended.append(f"{group}: {failure}")
            stop.set()

        watched = StageGroup(self._settings, group, loop.topics, loop.durable_places)
        watchdog = Watchdog(group, vitals, watched, end)
        watchdog.start()
        try:
            if not self._stop.is_set():
                loop.run(stop)
        finally:
            watchdog.stop()


class StalledWorker:
    """A sequencer worker; restarted when it ends."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self.exits: list[int] = []
        self._environment = os.environ | {
            "IM_NAMESPACE": settings.namespace,
            "IM_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
            "IM_HOME": str(settings.home),
        }
        self._log = log
        self._stop = Event()
        self._thread = Thread(target=self._restart_forever, name="worker", daemon=True)

    def start(self) -> None:
        """Starts the worker."""
        self._thread.start()

    def lines(self) -> list[str]:
        """The worker's log lines so far."""
        return self._log.read_text().splitlines() if self._log.exists() else []

    def stop(self) -> None:
        """Ends the worker, within a bound."""
        self._stop.set()
        self._thread.join(SETTLE_SECONDS)

    def _restart_forever(self) -> None:
        while not self._stop.is_set():
            with self._log.open("a") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "stream_processors"],
                    env=self._environment, stdout=log, stderr=log,
                )  # fmt: skip
                while process.poll() is None and not self._stop.wait(0.2):
                    pass
                if process.poll() is None:
                    process.terminate()
                    process.wait(SETTLE_SECONDS)
                else:
                    self.exits.append(process.returncode)


class SteadyTraffic:
    """Sends a message at intervals, whatever the state of the broker."""

    def __init__(self, settings: Settings) -> None:
        self._producer = Producer(producer_config(settings) | {"message.timeout.ms": 0})
        self._topic = settings.topic(Topic.MESSAGES)
        self._stop = Event()
        self._may_send = Event()
        self._may_send.set()
        self._thread = Thread(target=self._run, name="traffic", daemon=True)

    def start(self) -> None:
        """Starts sending."""
        self._thread.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Sends nothing inside the block. On entry, the broker has all messages sent before."""
        self._may_send.clear()
        time.sleep(2 * _PAUSE_SECONDS)
        self._producer.flush(SETTLE_SECONDS)
        try:
            yield
        finally:
            self._may_send.set()

    def stop(self) -> None:
        """Stops sending."""
        self._may_send.set()
        self._stop.set()
        self._thread.join(SETTLE_SECONDS)

    def _run(self) -> None:
        for number in range(CONVERSATIONS):
            command = creation(number, 2)
            self._producer.produce(self._topic, encode(command), command.conv_id)
        number = 0
        while not self._stop.wait(_PAUSE_SECONDS):
            self._may_send.wait(SETTLE_SECONDS)
            command = message(number, 2)
            self._producer.produce(self._topic, encode(command), command.conv_id)
            self._producer.poll(0)
            number += 1
