"""A lane with few recent records is quiet next to busy ones."""

from __future__ import annotations

import pytest

from stream_processors.commit.turns import HALF_LIFE_SECONDS
from stream_processors.lanes.quiet_lanes import QuietLanes
from tests.support.clock import Clock


@pytest.mark.parametrize(
    ("records", "quiet"),
    [
        ({}, False),
        ({"a": 1}, False),
        ({"a": 1, "b": 1}, False),
        ({"a": 10_000, "b": 9_000, "c": 8_000}, False),
        ({"a": 10_000, "b": 1}, True),
        ({"a": 10_000, "b": 10_000, "c": 1_000}, True),
    ],
)
def test_a_quiet_lane_has_far_fewer_records_than_the_others(
    records: dict[str, int], *, quiet: bool
) -> None:
    """Equally busy lanes, and a lane alone, are not quiet."""
    lanes: QuietLanes[str] = QuietLanes(Clock())
    for lane, count in records.items():
        lanes.add(lane, count)
    assert lanes.any_quiet() is quiet


def test_a_lane_without_records_is_not_quiet_any_more() -> None:
    """After a time without records, nobody waits for the lane's messages."""
    clock = Clock()
    lanes: QuietLanes[str] = QuietLanes(clock)
    lanes.add("quiet", 1)
    lanes.add("busy", 1_000)
    clock.now += HALF_LIFE_SECONDS / 2
    assert lanes.any_quiet()
    clock.now += HALF_LIFE_SECONDS / 2
    lanes.add("busy", 1_000)
    assert not lanes.any_quiet()


def test_earlier_records_count_less() -> None:
    """A lane that was busy seconds ago and has few records now is quiet."""
    clock = Clock()
    lanes: QuietLanes[str] = QuietLanes(clock)
    lanes.add("now busy", 1)
    lanes.add("once busy", 1_000)
    for _ in range(8):
        clock.now += 0.9 * HALF_LIFE_SECONDS
        lanes.add("now busy", 1_000)
        lanes.add("once busy", 1)
    assert lanes.any_quiet()
