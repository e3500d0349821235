"""A broker that stalls again and again: does every stage get its partitions back?

``python -m benchmarks.broker_stalls --rounds 30`` starts its own Kafka, a sequencer worker and 16
consume loops of sinks in 12 groups. Each round stops the broker (SIGSTOP) for 25 or 60 s and then
continues it (SIGCONT). A round passes if, within `RECOVERY_SECONDS`, every group owns all
partitions again, the sequencer has sequenced every command, and every loop has committed every
entry. The program prints one line for each round, and a summary.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from backends.kafka.clients import admin_client, create_topics, topic_partitions
from backends.kafka.groups import described_group, group_places
from backends.kafka.partition_ends import written_ends
from backends.kafka.stage_group import ANSWER_SECONDS
from benchmarks.stalled_parts import (
    LOOPS_BY_GROUP,
    SETTLE_SECONDS,
    StalledLoops,
    StalledWorker,
    SteadyTraffic,
)
from devstack.stack import Stack
from schemas.settings import Settings
from schemas.topics import Topic
from tests.support.servers import addresses, private_folder, private_stack

RECOVERY_SECONDS: Final = 150.0
"""Time limit for the recovery from a stall: the watchdog's bound, a restart, and a session
timeout.
"""

_REQUEST_SECONDS: Final = 10.0
_CHECK_SECONDS: Final = 0.5


class Outcome(NamedTuple):
    """The result of one round. ``waiting`` names the groups that did not recover."""

    stall: float
    recovery: float
    waiting: list[str]


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
        self.loops = StalledLoops(self.settings, overrides)
        self.worker = StalledWorker(self.settings, Path(stack.settings.home) / "worker.log")
        self._traffic = SteadyTraffic(self.settings)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Everything runs, and every group owns its partitions."""
        parts = (self.worker, self.loops, self._traffic)
        for part in parts:
            part.start()
        try:
            self.recovered(SETTLE_SECONDS)
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
        waiting = ["sequencer", *LOOPS_BY_GROUP]
        with self._traffic.paused():
            while waiting and time.monotonic() < deadline:
                time.sleep(_CHECK_SECONDS)
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
