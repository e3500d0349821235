"""Rates, delays and states of stages, from readings at given times."""

from __future__ import annotations

from typing import Any, Final

import pytest
from msgspec import structs

from backends.stages.letters import Letter
from backends.stages.stage_health import StageHealth
from gateway.pipeline.readings import (
    BEHIND_MS,
    RATE_MS,
    STALLED_MS,
    Reading,
    Readings,
    Traffic,
    finished,
)
from schemas.http.pipeline_answers import StageShown
from schemas.http.queries import MAX_POINTS
from schemas.number_types import Milliseconds, Offset

NOW: Final = 1_800_000_000_000
SINK: Final = "sink-message"


def stage(records: int = 0, **changes: Any) -> StageHealth:
    """A sink that has finished these records; its position has the marker of each, too."""
    values: dict[str, Any] = {
        "read_at": NOW, "lag": 0, "oldest_at": None, "position": 2 * records, "delay_ms": None,
        "measured_at": None, "members": 1, "assigned": True,
        "counts": {"records": records, "dead_letters": 0},
    }  # fmt: skip
    return StageHealth(**values | changes)


def reading(ms: int, of_sink: StageHealth, requests: int = 0) -> Reading:
    """A reading, ``ms`` after the first one."""
    at = Milliseconds(NOW + ms)
    of_sink = structs.replace(of_sink, read_at=at)
    return Reading(
        at=at, ticks_ms=ms, stages={SINK: of_sink}, letters=[],
        traffic=Traffic(requests=requests),
    )  # fmt: skip


def shown(*given: tuple[int, StageHealth]) -> StageShown:
    """The sink after these readings."""
    readings = Readings()
    for ms, of_sink in given:
        readings.add(reading(ms, of_sink))
    [found] = readings.stages()
    return found


def test_a_rate_counts_records_over_the_last_seconds() -> None:
    """The rate is that of finished records, without markers, over `RATE_MS` at most."""
    assert shown((0, stage(100))).rate is None
    assert shown((0, stage(100)), (1_000, stage(600))).rate == 500
    long_ago = [(0, stage(0)), (1_000, stage(9_000))]
    recent = [(RATE_MS + step, stage(9_000 + step)) for step in (2_000, 3_000, 4_000)]
    assert shown(*long_ago, *recent).rate == 1_000


def test_a_rate_needs_a_recent_reading() -> None:
    """After a time without viewers, the first reading has no rate."""
    assert shown((0, stage(0)), (60_000, stage(6_000))).rate is None


def test_a_rate_is_never_negative() -> None:
    """Counts that begin anew, as after a reset of offsets, give a rate of 0."""
    assert shown((0, stage(100)), (1_000, stage(5))).rate == 0


def test_the_commands_of_the_sequencer_are_its_records() -> None:
    """The sequencer has no count of records; each command has one outcome."""
    counts = {"accepted": 5, "duplicates": 4, "stale": 3, "rejected": 2, "dead_letters": 1}
    assert finished(stage(counts=counts)) == 15


@pytest.mark.parametrize(
    ("measured", "waiting", "expected"),
    [
        (None, None, None),  # nothing happens
        (1_000, None, 40),  # a record was finished a second ago
        (RATE_MS, None, None),  # long ago
        (1_000, 30, 40),
        (1_000, 700, 700),  # the oldest record waits longer than the last one did
        (None, 5_000, 5_000),
    ],
)
def test_the_delay_is_that_of_the_present(
    measured: int | None, waiting: int | None, expected: int | None
) -> None:
    """The delay is of records that wait or were finished just now; otherwise there is none."""
    found = shown(
        (
            0,
            stage(
                delay_ms=None if measured is None else Milliseconds(40),
                measured_at=None if measured is None else Milliseconds(NOW - measured),
                oldest_at=None if waiting is None else Milliseconds(NOW - waiting),
                lag=0 if waiting is None else 1,
            ),
        )
    )
    assert found.delay_ms == expected


def test_a_stage_without_progress_is_stalled() -> None:
    """Records wait, and none was finished for `STALLED_MS`, although somebody looked all the time.

    A stage that was idle for long, and now has a record, is not stalled.
    """
    times = range(0, STALLED_MS + 1, 1_000)
    waiting = [(ms, stage(5, lag=3)) for ms in times]
    assert shown(*waiting[:-1]).state == "ok"
    assert shown(*waiting).state == "stalled"
    moving = [(ms, stage(5 + ms, lag=3)) for ms in times]
    assert shown(*moving).state == "ok"
    idle = [(ms, stage(5)) for ms in times]
    assert shown(*idle, (STALLED_MS + 1_000, stage(5, lag=1))).state == "ok"
    assert shown((0, stage(5, lag=3)), (60_000, stage(5, lag=3))).state == "ok"


def test_a_stage_whose_oldest_record_is_old_is_behind() -> None:
    """A stage that makes progress, but too slowly, is behind."""
    old = Milliseconds(NOW - BEHIND_MS)
    assert shown((0, stage(lag=9, oldest_at=old))).state == "behind"
    assert shown((0, stage(lag=9, oldest_at=Milliseconds(old + 1)))).state == "ok"


def test_a_stage_with_a_partition_without_a_process_is_unowned() -> None:
    """This state comes before all others, because it explains them."""
    old = Milliseconds(NOW - BEHIND_MS)
    assert shown((0, stage(assigned=False, lag=9, oldest_at=old))).state == "unowned"


def test_points_are_bounded() -> None:
    """The last points are retained, and a viewer gets as many as requested."""
    readings = Readings()
    for second in range(MAX_POINTS + 20):
        readings.add(reading(1_000 * second, stage(second), requests=7 * second))
    assert len(readings.points(MAX_POINTS)) == MAX_POINTS
    assert readings.points(0) == []
    [point] = readings.points(1)
    assert point.at == NOW + 1_000 * (MAX_POINTS + 19)
    assert (point.rates, point.lags, point.delays, point.requests) == ([1], [0], [None], 7)
    assert readings.traffic(Traffic(connections=3)).rate == 7


def test_dead_letters_are_shown_without_a_part_of_the_record() -> None:
    """The number is the sum of all stages; a letter has its reason and the place of its record."""
    letter = Letter(
        stage=SINK, reason="refused", topic="im.timeline", partition=1, offset=Offset(7), size=9,
        at=Milliseconds(NOW),
    )  # fmt: skip
    readings = Readings()
    assert (readings.letters(), readings.dead_letters(), readings.stages()) == ([], 0, [])
    stages = {"sequencer": stage(counts={"dead_letters": 2}), SINK: stage(counts={})}
    readings.add(
        Reading(
            at=Milliseconds(NOW), ticks_ms=0, stages=stages, letters=[letter], traffic=Traffic()
        )
    )
    assert readings.dead_letters() == 2
    [found] = readings.letters()
    assert (found.reason, found.topic, found.partition, found.offset) == (
        "refused", "im.timeline", 1, 7,
    )  # fmt: skip
