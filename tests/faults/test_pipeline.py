"""A load continues while parts of the pipeline are killed or down; `im verify` then passes."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from devstack.stack import Stack
from schemas.settings import Settings
from schemas.topics import Topic
from tests.conftest import Servers
from tests.support.chat import write_chat
from tests.support.pipeline import (
    assert_verified,
    assigned_members,
    finish,
    im,
    im_under_way,
    prepare,
    sinks,
)
from tests.support.processes import running, wait_until
from tests.support.servers import addresses
from tests.support.topics import committed, is_caught_up

pytestmark = pytest.mark.servers

LINES = 4_000
LOAD_SECONDS = 20
"""Duration of a load during which a store is stopped; without this limit the load ends too
soon.
"""
LOW_LIMITS = {"push_limit": 40, "push_again_below": 35}
"""Low limits, so that the conversations of a small load cross them, in both directions."""


def done(settings: Settings, stage: str, topic: Topic) -> int:
    """The sum of the offsets that a stage has committed in all partitions."""
    return sum(place.offset for place in committed(settings, stage, topic).values())


def has_sequenced(settings: Settings, commands: float) -> bool:
    """Whether more than this number of commands have been sequenced."""
    return done(settings, "sequencer", Topic.MESSAGES) > commands


def test_a_load_is_complete_after_workers_were_killed(servers: Servers, tmp_path: Path) -> None:
    """Two `kill -9` of the worker during a load lose nothing; a second load adds nothing."""
    settings = servers.settings(home=tmp_path, **LOW_LIMITS)
    chat = write_chat(tmp_path / "chat.jsonl", LINES)
    prepare(settings)
    with sinks(settings), im_under_way(settings, "load", chat) as loading:
        for share in (0.2, 0.5):
            with running(settings, "stream_processors") as worker:
                wait_until(
                    partial(has_sequenced, settings, share * LINES),
                    f"{share:.0%} of the load is sequenced",
                )
                worker.kill()
        with running(settings, "stream_processors"):
            (first,) = finish(loading)
            assert_verified(settings)
            (second,) = im(settings, "load", chat)
            assert_verified(settings)
    assert first["rejected"] == {}
    assert first["sequenced"] == first["commands"] > LINES / 2
    assert second["sequenced"] == 0
    assert second["duplicates"] + second["stale"] == second["commands"] == first["commands"]


def has_its_partitions(settings: Settings, stage: str) -> bool:
    """Whether a stage reads all its partitions: it does not begin after a load has ended."""
    return assigned_members(settings, stage) > 0


@pytest.mark.parametrize(
    ("server", "stage"), [("cassandra", "sink-sync"), ("elasticsearch", "sink-search")]
)
def test_a_store_that_was_unreachable_during_a_load_is_complete(
    stack: Stack, tmp_path: Path, server: str, stage: str
) -> None:
    """A store that is stopped during a load and restarted receives all records.

    The other stages continue without the store, and `im verify` finds no difference.
    """
    settings = Servers(tmp_path, addresses(stack)).settings(home=tmp_path, **LOW_LIMITS)
    topic = Topic.SYNC if stage == "sink-sync" else Topic.TIMELINE
    prepare(settings)
    chat = write_chat(tmp_path / "chat.jsonl", LINES)
    with (
        running(settings, "stream_processors"),
        sinks(settings),
        ExitStack() as started,
    ):
        for each in ("sequencer", stage):
            wait_until(partial(has_its_partitions, settings, each), f"{each} has its partitions")
        loading = started.enter_context(
            im_under_way(settings, "load", chat, "--rate", LINES / LOAD_SECONDS)
        )
        wait_until(lambda: done(settings, stage, topic) > 0, f"{stage} has begun")
        stack.stop(server)
        wait_until(
            lambda: (
                is_caught_up(settings, "sequencer", Topic.MESSAGES)
                and done(settings, "sequencer", Topic.MESSAGES) >= LINES / 2
            ),
            "sequencing goes on without the store",
        )
        assert not is_caught_up(settings, stage, topic)
        stack.start(server)
        stack.await_ready(server, seconds=300)
        (summary,) = finish(loading)
        assert_verified(settings)
    assert summary["sequenced"] == summary["commands"]
