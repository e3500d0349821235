"""A broker that stalls again and again: does every stage get its partitions back?

``python -m benchmarks.broker_stalls --rounds 30`` starts its own Kafka, a sequencer worker and 16
consume loops of sinks in 12 groups. Each round stops the broker (SIGSTOP) for 25 or 60 s and then
continues it (SIGCONT). A round passes if, within `RECOVERY_SECONDS`, every group owns all
partitions again, the sequencer has sequenced every command, and every loop has committed every
entry. The program prints one line for each round, and a summary.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Final, NamedTuple

from confluent_kafka import Consumer, Producer

from backends.kafka.clients import admin_client, create_topics, producer_config, topic_partitions
from backends.kafka.groups import described_group, group_places
from backends.kafka.partition_ends import written_ends
from backends.kafka.stage_group import ANSWER_SECONDS, StageGroup
from backends.processes.watchdog import Vitals, Watchdog
from benchmarks.workload import CONVERSATIONS, creation, message
from devstack.stack import Stack
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
from tests.support.servers import addresses, private_folder, private_stack

RECOVERY_SECONDS: Final = 150.0
"""Time limit for the recovery from a stall: the watchdog's bound, a restart, and a session
timeout.
"""

_MEMBERS: Final = {f"alone-{n}": 1 for n in range(8)} | {f"pair-{n}": 2 for n in range(4)}
"""Number of loops in each group: 16 in all."""

_BOUNDS: Final = Bounds(10_000, 16 * 1024 * 1024, 5_000)
_PAUSE_SECONDS: Final = 0.01
"""Pause between two messages."""

_REQUEST_SECONDS: Final = 10.0
_SETTLE_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.5


class Outcome(NamedTuple):
    """The result of one round. ``waiting`` names the groups that did not recover."""

    stall: float
    recovery: float
    waiting: list[str]


def _deliver(_records: Sequence[Record], _abandon: Event) -> CountsOf:
    return NO_COUNTS


class Loops:
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
            Thread(target=self._keep, args=(group,), name=f"{group}.{n}", daemon=True)
            for group, count in _MEMBERS.items()
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
            thread.join(_SETTLE_SECONDS)

    def _keep(self, group: str) -> None:
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


class Worker:
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
        self._thread = Thread(target=self._keep, name="worker", daemon=True)

    def start(self) -> None:
        """Starts the worker."""
        self._thread.start()

    def lines(self) -> list[str]:
        """The worker's log lines so far."""
        return self._log.read_text().splitlines() if self._log.exists() else []

    def stop(self) -> None:
        """Ends the worker, within a bound."""
        self._stop.set()
        self._thread.join(_SETTLE_SECONDS)

    def _keep(self) -> None:
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
                    process.wait(_SETTLE_SECONDS)
                else:
                    self.exits.append(process.returncode)


class Traffic:
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
        self._producer.flush(_SETTLE_SECONDS)
        try:
            yield
        finally:
            self._may_send.set()

    def stop(self) -> None:
        """Stops sending."""
        self._may_send.set()
        self._stop.set()
        self._thread.join(_SETTLE_SECONDS)

    def _run(self) -> None:
        for number in range(CONVERSATIONS):
            command = creation(number, 2)
            self._producer.produce(self._topic, encode(command), command.conv_id)
        number = 0
        while not self._stop.wait(_PAUSE_SECONDS):
            self._may_send.wait(_SETTLE_SECONDS)
            command = message(number, 2)
            self._producer.produce(self._topic, encode(command), command.conv_id)
            self._producer.poll(0)
            number += 1


class Rig:
    """The servers, the loops, the worker and the traffic together.

    Args:
        stack: Has the broker.
        overrides: Settings of the consumers that differ from the default.
    """

    def __init__(self, stack: Stack, overrides: dict[str, int]) -> None:
        self._stack = stack
        self.settings = Settings(
            namespace="stalls",
            home=stack.settings.home,
            kafka_bootstrap=addresses(stack)["kafka_bootstrap"],
        )
        create_topics(self.settings)
        self.loops = Loops(self.settings, overrides)
        self.worker = Worker(self.settings, Path(stack.settings.home) / "worker.log")
        self._traffic = Traffic(self.settings)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Everything runs, and every group owns its partitions."""
        parts = (self.worker, self.loops, self._traffic)
        for part in parts:
            part.start()
        try:
            self.recovered(_SETTLE_SECONDS)
            yield
        finally:
            for part in reversed(parts):
                part.stop()

    def round(self, stall: float) -> Outcome:
        """One stall, and its outcome."""
        self._stack.supervisor.signal("kafka", "STOP")
        time.sleep(stall)
        self._stack.supervisor.signal("kafka", "CONT")
        begun = time.monotonic()
        waiting = self.recovered(RECOVERY_SECONDS)
        return Outcome(stall, time.monotonic() - begun, waiting)

    def recovered(self, seconds: float) -> list[str]:
        """Waits until every group owns and has processed everything; returns the others."""
        deadline = time.monotonic() + seconds
        waiting = ["sequencer", *_MEMBERS]
        with self._traffic.paused():
            while waiting and time.monotonic() < deadline:
                time.sleep(_LOOK_SECONDS)
                # The sequencer comes first: the loops read what the sequencer writes.
                while waiting and self._is_well(waiting[0]):
                    waiting.pop(0)
        return waiting

    def _is_well(self, group: str) -> bool:
        topic = Topic.MESSAGES if group == "sequencer" else Topic.TIMELINE
        places = topic_partitions(self.settings, topic)
        name = self.settings.group(group)
        # A client that went through a stall may need longer than the stages to find the broker
        # again.
        admin = admin_client(self.settings)
        try:
            described = described_group(admin, name, _REQUEST_SECONDS)
            done = group_places(self.settings, name, places, _REQUEST_SECONDS)
            ends = written_ends(admin, done, ANSWER_SECONDS)
        except Exception:  # noqa: BLE001 - the broker may still be down
            return False
        owned = sum(len(member.assignment.topic_partitions) for member in described.members)
        # `im.messages` has no transaction marks behind its last record: its producer is not
        # transactional. The marks of `im.timeline` are committed by the loops.
        return owned == len(places) and all(
            max(0, place.offset) >= end for place, end in zip(done, ends.values(), strict=True)
        )


def main() -> int:
    """Runs the rounds; returns 0 if every stage recovered in each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--stalls", type=float, nargs="+", default=[25.0, 60.0], metavar="SECONDS")
    parser.add_argument("--session-ms", type=int, default=10_000, help="of the loops")
    options = parser.parse_args()
    overrides = {
        "session.timeout.ms": options.session_ms,
        "heartbeat.interval.ms": options.session_ms // 3,
    }
    with private_folder() as home:
        shutil.rmtree(home / "data", ignore_errors=True)
        stack = private_stack(home, ["kafka"])
        stack.up()
        try:
            return run(Rig(stack, overrides), options.rounds, options.stalls)
        finally:
            stack.supervisor.signal("kafka", "CONT")
            stack.down()


def run(rig: Rig, rounds: int, stalls: Sequence[float]) -> int:
    """Runs the rounds and prints their results."""
    outcomes = []
    with rig.running():
        for number in range(rounds):
            outcome = rig.round(stalls[number % len(stalls)])
            outcomes.append(outcome)
            print(
                f"round {number + 1}: {outcome.stall:.0f} s, recovered after"
                f" {outcome.recovery:.1f} s, waiting: {', '.join(outcome.waiting) or 'none'};"
                f" loops failed: {len(rig.loops.failures)}, ended by their watchdog:"
                f" {len(rig.loops.ended)}, worker exits: {rig.worker.exits}",
                flush=True,
            )
    bad = [outcome for outcome in outcomes if outcome.waiting]
    print(f"{len(outcomes)} rounds, {len(bad)} without recovery of every stage")
    for failure in rig.loops.failures + rig.loops.ended:
        print(f"  {failure}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
