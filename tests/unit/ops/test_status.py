"""The delay and the troubles that `im status` reports."""

from __future__ import annotations

from pathlib import Path

from backends.stages.stage_health import StageHealth
from devstack.supervision import ProcessState
from ops.deployment.deployment_status import slowest_sink, troubles_of
from schemas.number_types import Milliseconds


def stage(delay_ms: int | None = None, *, assigned: bool = True) -> StageHealth:
    """A measured stage."""
    return StageHealth(
        read_at=Milliseconds(2),
        lag=0,
        oldest_at=None,
        position=0,
        delay_ms=None if delay_ms is None else Milliseconds(delay_ms),
        measured_at=Milliseconds(1),
        members=1,
        assigned=assigned,
        counts={},
    )


def process(state: str) -> ProcessState:
    """A process in a state."""
    return ProcessState("sink-sync", "sink-sync", state, 1, 1, 0, Path("log"), "")


def test_the_delay_is_that_of_the_slowest_sink() -> None:
    """The total delay is that of the slowest sink, which includes the sequencer's delay."""
    stages = {"sequencer": stage(90), "sink-sync": stage(20), "sink-message": stage(50)}
    assert slowest_sink(stages) == 50


def test_before_the_first_message_there_is_no_delay() -> None:
    """Without a measurement or without stages there is no delay."""
    assert slowest_sink({"sink-sync": stage(None)}) is None
    assert slowest_sink({}) is None


def test_each_problem_is_named() -> None:
    """A process that does not run, and a partition without an owner, are each reported."""
    running, stages = [process("RUNNING")], {"sink-sync": stage()}
    assert troubles_of(running, stages) == []
    (fallen,) = troubles_of([*running, process("BACKOFF")], stages)
    assert fallen.startswith("sink-sync is BACKOFF")
    refused = process("BACKOFF")._replace(last_exit=78)
    (fallen,) = troubles_of([refused], stages)
    assert f"exit code 78, see {refused.log}" in fallen
    again = process("RUNNING")._replace(last_exit=78)
    assert len(troubles_of([again._replace(uptime_seconds=5)], stages)) == 1
    assert troubles_of([again._replace(uptime_seconds=600)], stages) == []
    assert troubles_of(running, {"sink-sync": stage(assigned=False)}) == [
        "sink-sync has partitions without an owner"
    ]
