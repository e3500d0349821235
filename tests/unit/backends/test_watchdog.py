"""The conditions under which a watchdog ends a stage."""

from __future__ import annotations

import logging

import pytest

from backends.processes.minute_log import REPEAT_SECONDS, LibraryFilter, MinuteLog
from backends.processes.watchdog import (
    SILENT_SECONDS,
    STALLED_SECONDS,
    UNASSIGNED_SECONDS,
    WRITING_SECONDS,
    Vitals,
    Watchdog,
)
from schemas.errors import FatalFailure, NoPartitions, NoProgress
from tests.support.clock import Clock


class Said:
    """A group as the broker describes it; None: the broker does not answer."""

    def __init__(self, *, leaves: bool | None = False, left: bool | None = False) -> None:
        self.leaves = leaves
        self.left = left

    def leaves_partitions(self) -> bool | None:
        return self.leaves

    def has_records_left(self) -> bool | None:
        return self.left


class Stage:
    """A stage with one heartbeat a second, and its watchdog."""

    def __init__(self, group: Said) -> None:
        self.clock = Clock()
        self.vitals = Vitals(self.clock)
        self.watchdog = Watchdog("sink", self.vitals, group, clock=self.clock)

    def run(
        self, seconds: float, owned: int = 8, *, has_moved: bool = False
    ) -> FatalFailure | None:
        """Send heartbeats with a check after each; return the first failure."""
        for _ in range(int(seconds)):
            self.clock.now += 1
            self.vitals.beat(owned, has_moved=has_moved)
            if failure := self.watchdog.check():
                return failure
        return None


LONG = 3 * max(SILENT_SECONDS, STALLED_SECONDS, UNASSIGNED_SECONDS)


def test_a_stage_without_partitions_that_nobody_owns_ends() -> None:
    """A stage without partitions ends when partitions have no owner."""
    assert Stage(Said(leaves=True)).run(UNASSIGNED_SECONDS) is None
    assert isinstance(Stage(Said(leaves=True)).run(UNASSIGNED_SECONDS + 5, 0), NoPartitions)


@pytest.mark.parametrize("leaves", [False, None])
def test_a_standby_and_a_stage_without_a_broker_wait(*, leaves: bool | None) -> None:
    """A stage waits while others own all partitions, and while the broker does not answer."""
    assert Stage(Said(leaves=leaves)).run(LONG, 0) is None


def test_an_unreachable_broker_restarts_the_time_limit_of_a_stage() -> None:
    """The time without partitions starts when the broker answers."""
    group = Said(leaves=None)
    stage = Stage(group)
    assert stage.run(LONG, 0) is None
    group.leaves = True
    assert isinstance(stage.run(UNASSIGNED_SECONDS + 2, 0), NoPartitions)


def test_a_stage_that_reads_nothing_while_records_wait_ends() -> None:
    """A stage that reads nothing while records wait ends; an idle stage does not."""
    assert isinstance(Stage(Said(left=True)).run(STALLED_SECONDS + 2), NoProgress)
    assert Stage(Said(left=True)).run(LONG, has_moved=True) is None
    assert Stage(Said(left=False)).run(LONG) is None
    assert Stage(Said(left=None)).run(LONG) is None


def test_a_loop_that_does_not_run_ends() -> None:
    """A loop without heartbeats ends, whatever the broker answers: a library call may hang."""
    stage = Stage(Said(leaves=None, left=None))
    stage.clock.now += SILENT_SECONDS + 1
    assert isinstance(stage.watchdog.check(), NoProgress)


def test_a_write_that_neither_ends_nor_fails_ends_the_process() -> None:
    """A write that hangs ends the process; a write that fails and is retried does not."""
    stage = Stage(Said())
    for _ in range(5):
        stage.vitals.writing()
        assert stage.run(WRITING_SECONDS, has_moved=True) is None
    assert isinstance(stage.run(10, has_moved=True), NoProgress)
    stage.vitals.written()
    assert stage.run(LONG, has_moved=True) is None


def test_a_stage_may_set_a_shorter_limit_for_its_writes() -> None:
    """The sequencer sets twice the transaction timeout, after which a transaction has ended."""
    clock = Clock()
    vitals = Vitals(clock, write_limit=60)
    watchdog = Watchdog("sequencer", vitals, Said(), clock=clock)
    vitals.writing()
    for seconds, ends in ((60, False), (1, True)):
        clock.now += seconds
        vitals.beat(8, has_moved=True)
        assert isinstance(watchdog.check(), NoProgress) is ends


def test_a_condition_that_lasts_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """A condition is logged at once, then once a minute, and at once when it returns."""
    clock = Clock()
    log = MinuteLog(logging.getLogger("test"), clock)
    for _ in range(int(2 * REPEAT_SECONDS) + 1):
        log.warning("away")
        clock.now += 1
    assert len(caplog.records) == 3
    assert log.end_condition()
    assert not log.end_condition()
    log.warning("away")
    assert len(caplog.records) == 4


def test_a_library_logs_each_line_once_a_minute() -> None:
    """The same line of a library is logged once a minute; other lines are not limited."""
    clock = Clock()
    lines = LibraryFilter(("aiokafka",), clock)

    def is_written(name: str, text: str) -> bool:
        record = logging.LogRecord(name, logging.ERROR, "", 1, text, (), None)
        return bool(lines.filter(record))

    assert is_written("aiokafka.client", "away from %s")
    assert not any(is_written("aiokafka.client", "away from %s") for _ in range(3))
    assert is_written("aiokafka.client", "something else")
    assert all(is_written("stream_processors.lanes.lane", "away") for _ in range(3))
    clock.now += REPEAT_SECONDS
    assert is_written("aiokafka.client", "away from %s")
