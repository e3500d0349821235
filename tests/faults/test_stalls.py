"""A broker that stalls and continues, without closing a connection."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from benchmarks import broker_stalls
from benchmarks.broker_stalls import Rig
from tests.support.processes import ROOT
from tests.support.servers import addresses
from tests.support.stoppable import stack_of_its_own

pytestmark = pytest.mark.servers

RECOVERY_SECONDS = 400.0
"""Time limit for a recovery on a busy machine, in place of the benchmark's."""

STALL_SECONDS = 13.0
"""Longer than the session timeout of the loops, and than the time after which clients close a
connection: both make a client search for its coordinator again.
"""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rounds of the rig have the time limit of this file."""
    monkeypatch.setattr(broker_stalls, "RECOVERY_SECONDS", RECOVERY_SECONDS)


def test_every_stage_recovers_its_partitions_after_a_stall() -> None:
    """After each stall, a sequencer and 16 sink loops process everything; no loop has failed."""
    sessions = {"session.timeout.ms": 6_000, "heartbeat.interval.ms": 2_000}
    with stack_of_its_own("kafka") as stack:
        rig = Rig(stack, sessions)
        with rig.running():
            outcomes = [rig.round(STALL_SECONDS) for _ in range(2)]
    assert [outcome.waiting for outcome in outcomes] == [[], []]
    assert rig.loops.failures == []


AWAY_SECONDS = 40.0
"""Longer than the longest transaction, so that a lane with an open transaction ends its
process.
"""


def test_stages_wait_for_an_unreachable_broker() -> None:
    """While Kafka is down, no process restarts repeatedly; all stages resume later."""
    with stack_of_its_own("kafka") as stack:
        rig = Rig(stack, {})
        with rig.running():
            lines = len(rig.worker.lines())
            stack.stop("kafka")
            time.sleep(AWAY_SECONDS)  # no event marks the absence of a restart
            logged = rig.worker.lines()[lines:]
            stack.start("kafka")
            stack.await_ready("kafka", seconds=300)
            assert rig.recovered(RECOVERY_SECONDS) == []
    assert len(rig.worker.exits) <= 1
    assert rig.loops.failures == []
    assert len(logged) < 40, logged


def test_stages_recover_after_a_broker_was_killed() -> None:
    """After a broker was killed, every stage recovers, with at most one restart of the worker.

    A lane whose transaction lost its coordinator ends its process: librdkafka ignores the time
    limit of the commit, so the watchdog has to end the process.
    """
    with stack_of_its_own("kafka") as stack:
        rig = Rig(stack, {})
        with rig.running():
            stack.kill("kafka")
            stack.await_ready("kafka", seconds=300)
            assert rig.recovered(RECOVERY_SECONDS) == []
    assert len(rig.worker.exits) <= 1
    assert rig.loops.failures == []


ASKS = """
import sys
from confluent_kafka import KafkaException, TopicPartition
from backends.kafka.groups import committed_places, described_group, group_reader
from backends.kafka.clients import admin_client
from schemas.settings import Settings

settings = Settings(kafka_bootstrap=sys.argv[1])
admin, reader = admin_client(settings), group_reader(settings, "g")
asks = [
    lambda seconds: described_group(admin, "g", seconds),
    lambda seconds: committed_places(reader, [TopicPartition("t", 0)], seconds),
]
for ask in asks:
    try:
        ask(1.0)
    except (TimeoutError, KafkaException):
        print("timeout", flush=True)
sys.stdin.readline()
for ask in asks:
    ask(30.0)
    print("answer", flush=True)
"""


def test_a_request_that_timed_out_does_not_abort_its_process() -> None:
    """A client whose group request timed out during a stall repeats it after the stall.

    librdkafka aborts the process at the end of the stall if its own timeout ended the request of
    an admin client. It also ends the process if the coordinator refuses the request of an admin
    client for offsets, as this broker does, which is new and has no groups yet.
    """
    with stack_of_its_own("kafka") as stack:
        stack.supervisor.signal("kafka", "STOP")
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", ASKS, addresses(stack)["kafka_bootstrap"]],
                cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(2)]
        finally:
            stack.supervisor.signal("kafka", "CONT")
        output, _ = process.communicate("\n", timeout=100)
    assert lines == ["timeout\n"] * 2
    assert (output, process.returncode) == ("answer\n" * 2, 0)
