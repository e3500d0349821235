"""The consume loop with any order of deliveries, failures, rebalances and crashes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from sinks.base import retry
from tests.support.sink_script import POISON
from tests.support.sink_world import World

logs = st.dictionaries(
    st.integers(0, 3),
    st.lists(st.sampled_from([b"1", b"2", POISON]), max_size=30),
    min_size=1,
    max_size=3,
)
choices = st.integers(0, 119)
scripts = st.integers(
    0, 150
).flatmap(  # lists of that length, where `max_size` alone gives short ones
    lambda length: st.lists(choices, min_size=length, max_size=length)
)


@pytest.fixture(autouse=True, scope="module")
def _no_pauses() -> Iterator[None]:
    """Retries without a pause."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.0)
        yield


@settings(max_examples=700, deadline=None)
@given(logs, scripts)
def test_nothing_is_committed_before_it_is_durable(
    log: dict[int, list[bytes]], script: list[int]
) -> None:
    """No commit passes a record that is neither stored nor a dead letter.

    In the end everything is committed, with the transaction markers after the last records, and
    each record that can be stored is stored, also after crashes and rebalances.
    """
    world = World(log, script)
    event(f"processes: {min(world.run(), 5)}")
    for partition, records in world.log.items():
        for record in records:
            place = partition, record.offset
            assert place in world.stored or (record.value == POISON and place in world.dead)


@given(logs)
def test_each_record_is_handled_once_without_failures(log: dict[int, list[bytes]]) -> None:
    """Without faults one process handles each record once, and exactly poison is a dead letter."""
    world = World(log, [])
    assert world.run() == 1
    poison = {
        (record.partition, record.offset)
        for records in world.log.values()
        for record in records
        if record.value == POISON
    }
    assert set(world.dead) == poison
    assert not world.stored & poison
