"""An upgrade: the processes of each stage are replaced one by one, in the order of the page."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from threading import Event
from typing import Final

import pytest

from schemas.records import MessageSent
from schemas.settings import Settings
from schemas.topics import Topic
from tests.conftest import Servers
from tests.support.commands import growing_group, message
from tests.support.pipeline import assert_verified, assigned_members, prepare
from tests.support.processes import running, wait_until
from tests.support.topics import is_caught_up, publish, timelines

pytestmark = pytest.mark.servers

STAGES: Final = {
    "sink-message": ("sinks", "message"),
    "sink-sync": ("sinks", "sync"),
    "sink-search": ("sinks", "search"),
    "sequencer": ("stream_processors",),
}
"""The stages in the order of an upgrade, with their modules."""

CONVERSATIONS: Final = ["c1", "c2", "c3"]


def talk(settings: Settings, stop: Event) -> int:
    """Publish messages to all conversations until the event; return the number of each."""
    for number in itertools.count():
        if stop.wait(0.05):
            return number
        publish(settings, [message(number, conv_id=conv_id) for conv_id in CONVERSATIONS])
    raise AssertionError("unreachable")


def has_members(settings: Settings, stage: str, number: int) -> bool:
    """Whether all partitions of a stage have an owner among this number of processes."""
    return assigned_members(settings, stage) == number


def test_nothing_is_lost_while_each_stage_is_replaced(servers: Servers) -> None:
    """Each stage gets a second process, and the first one ends in order, while people write.

    `im prepare` runs before the first replacement, as for a new version.
    """
    settings = servers.settings(partitions=2, sync_partitions=2)
    prepare(settings)
    publish(settings, [c for conv_id in CONVERSATIONS for c in growing_group(3, conv_id)])
    stop = Event()
    with ExitStack() as processes, ThreadPoolExecutor(1) as pool:
        old = {
            stage: processes.enter_context(running(settings, *module))
            for stage, module in STAGES.items()
        }
        said = pool.submit(talk, settings, stop)
        processes.callback(stop.set)
        prepare(settings)
        for stage, module in STAGES.items():
            processes.enter_context(running(settings, *module))
            wait_until(partial(has_members, settings, stage, 2), f"{stage} has two processes")
            old[stage].terminate()
            assert old[stage].wait(180) == 0
            wait_until(partial(has_members, settings, stage, 1), f"{stage} has its new process")
        stop.set()
        number = said.result(180)
        wait_until(
            partial(is_caught_up, settings, "sequencer", Topic.MESSAGES), "all is sequenced"
        )
        assert_verified(settings)
    found = timelines(settings)
    assert number > 10
    assert {
        conv_id: sum(isinstance(entry, MessageSent) for entry in entries)
        for conv_id, entries in found.items()
    } == dict.fromkeys(CONVERSATIONS, number)
