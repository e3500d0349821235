"""The runner of a subscription with any order of answers, failures, rebalances and kills."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from sinks.base import retry
from sinks.webhooks import event_lane
from tests.support.webhook_world import WebhookWorld

logs = st.dictionaries(
    st.integers(0, 3), st.lists(st.booleans(), max_size=20), min_size=1, max_size=3
)
choices = st.integers(0, 119)
scripts = st.integers(0, 150).flatmap(
    lambda length: st.lists(choices, min_size=length, max_size=length)
)


@pytest.fixture(autouse=True, scope="module")
def _no_pauses() -> Iterator[None]:
    """Retries without a pause, and a read-ahead that is soon full."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.0)
        patch.setattr(event_lane, "_WAIT_SECONDS", 0.0)
        patch.setattr(event_lane, "MAX_READ_AHEAD", 3)
        yield


@settings(max_examples=500, deadline=None)
@given(logs, scripts)
def test_each_event_is_delivered_in_order_or_a_dead_letter(
    log: dict[int, list[bool]], script: list[int]
) -> None:
    """No event is lost or overtaken, and no event is delivered again after its commit.

    The world checks at each commit that no event below it lacks an outcome, and at each call that
    the event is not below the committed position and that all earlier events have an outcome. It
    replays dead letters at any time: a replay moves no position, and does not begin after its end.
    An acknowledged event is repeated only if a process or a partition was lost before its commit,
    so each loss repeats at most one event of each partition.
    """
    world = WebhookWorld(log, script)
    processes = world.run()
    event(f"processes: {min(processes, 5)}")
    event(f"repeated: {min(len(world.repeated), 3)}")
    assert world.chosen <= world.stored | world.dead.keys()
    event(f"replayed: {min(len(world.replayed), 3)}")
    assert world.requested == set(world.replayed) | world.refused


@given(logs)
def test_without_failures_each_event_is_delivered_once(log: dict[int, list[bool]]) -> None:
    """One process makes exactly one call for each chosen event, and none for other records."""
    world = WebhookWorld(log, [])
    assert world.run() == 1
    assert world.calls == len(world.chosen)
    assert world.stored == world.chosen
    assert not world.dead
