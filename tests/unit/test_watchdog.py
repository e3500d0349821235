"""When a stage counts as standing still."""

from __future__ import annotations

import logging

import pytest

from backends.minutely import REPEAT_SECONDS, LibraryFilter, MinuteLog
from backends.watchdog import (
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
    """A stage that beats once a second for some time, as a watchdog sees it."""

    def __init__(self, group: Said) -> None:
        self.clock = Clock()
        self.vitals = Vitals(self.clock)
        self.watchdog = Watchdog("sink", self.vitals, group, clock=self.clock)

    def run(
        self, seconds: float, owned: int = 8, *, has_moved: bool = False
    ) -> FatalFailure | None:
        """Beats, and looks after each beat; what is found first."""
        for _ in range(int(seconds)):
            self.clock.now += 1
            self.vitals.beat(owned, has_moved=has_moved)
            if failure := self.watchdog.look():
                return failure
        return None


LONG = 3 * max(SILENT_SECONDS, STALLED_SECONDS, UNASSIGNED_SECONDS)


def test_a_stage_without_partitions_that_nobody_owns_ends() -> None:
    """It was put out of its group, and did not come back."""
    assert Stage(Said(leaves=True)).run(UNASSIGNED_SECONDS) is None
    assert isinstance(Stage(Said(leaves=True)).run(UNASSIGNED_SECONDS + 5, 0), NoPartitions)


@pytest.mark.parametrize("leaves", [False, None])
def test_a_standby_and_a_stage_without_a_broker_wait(*, leaves: bool | None) -> None:
    """Others own every partition, or nobody can say: a new process would change nothing."""
    assert Stage(Said(leaves=leaves)).run(LONG, 0) is None


def test_a_broker_that_was_away_gives_the_stage_its_whole_time_again() -> None:
    """The time without partitions counts from when the broker answers."""
    group = Said(leaves=None)
    stage = Stage(group)
    assert stage.run(LONG, 0) is None
    group.leaves = True
    assert isinstance(stage.run(UNASSIGNED_SECONDS + 2, 0), NoPartitions)


def test_a_stage_that_reads_nothing_while_records_wait_ends() -> None:
    """An idle one, and one whose broker does not answer, go on."""
    assert isinstance(Stage(Said(left=True)).run(STALLED_SECONDS + 2), NoProgress)
    assert Stage(Said(left=True)).run(LONG, has_moved=True) is None
    assert Stage(Said(left=False)).run(LONG) is None
    assert Stage(Said(left=None)).run(LONG) is None


def test_a_loop_that_does_not_run_ends() -> None:
    """Whatever the broker says: a call of a client library did not return."""
    stage = Stage(Said(leaves=None, left=None))
    stage.clock.now += SILENT_SECONDS + 1
    assert isinstance(stage.watchdog.look(), NoProgress)


def test_a_write_that_neither_ends_nor_fails_ends_the_process() -> None:
    """One that fails and is made again waits for its store as long as that takes."""
    stage = Stage(Said())
    for _ in range(5):
        stage.vitals.writing()
        assert stage.run(WRITING_SECONDS, has_moved=True) is None
    assert isinstance(stage.run(10, has_moved=True), NoProgress)
    stage.vitals.written()
    assert stage.run(LONG, has_moved=True) is None


def test_a_stage_may_set_a_shorter_limit_for_its_writes() -> None:
    """The sequencer does: no transaction is alive after twice its timeout."""
    clock = Clock()
    vitals = Vitals(clock, write_limit=60)
    watchdog = Watchdog("sequencer", vitals, Said(), clock=clock)
    vitals.writing()
    for seconds, ends in ((60, False), (1, True)):
        clock.now += seconds
        vitals.beat(8, has_moved=True)
        assert isinstance(watchdog.look(), NoProgress) is ends


def test_a_condition_that_lasts_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """At once, then each minute, and at once again after it was over."""
    clock = Clock()
    log = MinuteLog(logging.getLogger("test"), clock)
    for _ in range(int(2 * REPEAT_SECONDS) + 1):
        log.tell("away")
        clock.now += 1
    assert len(caplog.records) == 3
    assert log.over()
    assert not log.over()
    log.tell("away")
    assert len(caplog.records) == 4


def test_a_library_says_each_thing_once_a_minute() -> None:
    """Its other lines, and those of this project, are written as they come."""
    clock = Clock()
    lines = LibraryFilter(("aiokafka",), clock)

    def is_written(name: str, text: str) -> bool:
        record = logging.LogRecord(name, logging.ERROR, "", 1, text, (), None)
        return bool(lines.filter(record))

    assert is_written("aiokafka.client", "away from %s")
    assert not any(is_written("aiokafka.client", "away from %s") for _ in range(3))
    assert is_written("aiokafka.client", "something else")
    assert all(is_written("stream_processors.lane", "away") for _ in range(3))
    clock.now += REPEAT_SECONDS
    assert is_written("aiokafka.client", "away from %s")
