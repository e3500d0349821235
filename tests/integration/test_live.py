"""Devices that wait at the gateway, on real servers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import ExitStack
from typing import Any, Final

import aiohttp
import pytest
from pydantic import SecretStr

from devstack.ports import free_ports
from gateway.live import pace
from schemas.ids import uuid7
from schemas.number_types import SeqId
from schemas.records import (
    AddMembers,
    AnyCommand,
    AnyEntry,
    CreateConversation,
    FanoutChanged,
    MembersAdded,
    MembersRemoved,
    RemoveMembers,
    SendMessage,
    TextContent,
)
from schemas.settings import Settings
from schemas.visibility import periods, visible
from tests.conftest import Servers
from tests.support.gateway import SECRET
from tests.support.live import LivePhone, Phone, gateway
from tests.support.pipeline import prepare
from tests.support.processes import running
from tests.support.topics import publish, timelines
from tests.support.waiting import until

pytestmark = pytest.mark.servers

PATIENCE: Final = 60.0
"""Time limit for one arrival, on a busy machine."""

SOON: Final = 20.0
"""Well below the wait of 30 s; on an idle machine an arrival takes 0.1 s."""

_ids = (uuid7(number, 0) for number in itertools.count(1))


def by(sender: str, conv_id: str) -> dict[str, Any]:
    """The fields that all commands have."""
    return {"conv_id": conv_id, "sender": sender, "device_id": "d", "client_msg_id": next(_ids)}


def say(sender: str, conv_id: str, text: str = "hello") -> SendMessage:
    """A message."""
    return SendMessage(**by(sender, conv_id), content=TextContent(text=text))


def create(sender: str, conv_id: str, *members: str) -> CreateConversation:
    """A conversation."""
    return CreateConversation(**by(sender, conv_id), members=list(members))


@pytest.fixture(scope="module")
def settings(servers: Servers) -> Iterator[Settings]:
    """A deployment with low limits, whose sequencer and message sink run."""
    settings = servers.settings(
        partitions=2, sync_partitions=2, push_limit=3, push_again_below=3,
        jwt_secret=SecretStr(SECRET), gateway_port=free_ports(1)[0],
    )  # fmt: skip
    prepare(settings)
    with ExitStack() as stack:
        stack.enter_context(running(settings, "stream_processors"))
        stack.enter_context(running(settings, "sinks", "message"))
        yield settings


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """The HTTP client session."""
    async with aiohttp.ClientSession() as session:
        yield session


async def test_a_waiting_request_receives_a_new_message(
    settings: Settings, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new record wakes a waiting device at once, without polling by the gateway.

    If the sink of sync records is stopped for some seconds, the response arrives when the sink has
    stored the record. Other waiting people get no response.
    """
    monkeypatch.setattr(pace, "_FIRST_LOOK", 1_000.0)
    bob, eve = Phone(settings, "bob", http), Phone(settings, "eve", http)
    async with gateway(settings), asyncio.timeout(4 * PATIENCE):
        with running(settings, "sinks", "sync"):
            await asyncio.to_thread(publish, settings, [create("ann", "c", "bob")])
            await bob.has("c", 1)
            nothing = asyncio.create_task(eve.wait(10))
            waiting = asyncio.create_task(bob.wait())
            await asyncio.sleep(0.5)  # both wait by now; otherwise the test passes as well
            await asyncio.to_thread(publish, settings, [say("ann", "c")])
            async with asyncio.timeout(SOON):
                assert [record["seq"] for record in await waiting] == [2]
        third = asyncio.create_task(bob.has("c", 3))
        await asyncio.to_thread(publish, settings, [say("ann", "c")])
        await asyncio.sleep(2)  # without the sink there must be no response
        assert not third.done()
        with running(settings, "sinks", "sync"):
            await third
        assert bob.seqs("c") == [1, 2, 3]
        assert await nothing == []


async def test_a_stopping_gateway_answers_and_the_next_gateway_continues(
    settings: Settings, http: aiohttp.ClientSession
) -> None:
    """A stopping gateway answers its waiting clients; the next one returns missed records."""
    bob = Phone(settings, "bob", http)
    with running(settings, "sinks", "sync"):
        async with asyncio.timeout(4 * PATIENCE):
            async with gateway(settings):
                await asyncio.to_thread(publish, settings, [create("ann", "r", "bob")])
                await bob.has("r", 1)
                waiting = asyncio.create_task(bob.wait())
                await asyncio.sleep(0.5)
            assert await waiting == []
            await asyncio.to_thread(publish, settings, [say("ann", "r")])
            async with gateway(settings):
                await bob.has("r", 2)
            assert bob.seqs("r") == [1, 2]


async def test_heads_arrive_through_mode_switches_and_membership_periods(
    settings: Settings, http: aiohttp.ClientSession
) -> None:
    """Over mode switches and rejoins, a device gets records in push mode and heads in pull mode.

    A member is informed of every entry. A former member is informed of nothing until they join
    again.
    """
    bob, chen = LivePhone(settings, "bob", http), LivePhone(settings, "陈", http)
    crowd = ["陈", "d"]
    head = 0

    async def after(*commands: AnyCommand, entries: int, there: list[LivePhone]) -> None:
        nonlocal head
        head += entries
        await asyncio.to_thread(publish, settings, commands)

        async def all_know() -> bool:
            assert not any(task.done() for task in following)
            return all(phone.knows("g", head) for phone in there)

        await until(all_know, PATIENCE)

    with running(settings, "sinks", "sync"):
        async with gateway(settings), asyncio.timeout(8 * PATIENCE):
            following = [asyncio.create_task(phone.follow()) for phone in (bob, chen)]
            await after(create("ann", "g", "bob"), entries=1, there=[bob])
            for _ in range(2):
                join = AddMembers(**by("ann", "g"), members=crowd)
                await after(join, entries=2, there=[bob, chen])  # and a switch to pull
                for _ in range(2):
                    await after(say("ann", "g"), entries=1, there=[bob, chen])
                leave = RemoveMembers(**by("ann", "g"), members=crowd)
                await after(leave, entries=2, there=[bob])  # and a switch to push
                await after(say("ann", "g"), entries=1, there=[bob])
            for task in following:
                task.cancel()
    log = (await asyncio.to_thread(timelines, settings))["g"]
    assert len(log) == head
    changes = [
        (entry.seq, isinstance(entry, MembersAdded))
        for entry in log
        if isinstance(entry, MembersAdded | MembersRemoved) and "陈" in entry.members
    ]
    assert len(changes) == 4
    told = set(chen.seqs("g")) | {seq for _, seq in chen.heads}
    assert all(visible(periods(changes), SeqId(seq)) for seq in told)
    pulled = {seq for seq in range(1, head + 1) if mode_of(log, seq) == "pull"}
    assert {seq for _, seq in bob.heads + chen.heads} <= pulled
    for phone in (bob, chen):
        assert len(phone.heads) == len(set(phone.heads)) >= 4
        assert phone.seqs("g") == sorted(set(phone.seqs("g")))
    assert set(range(1, head + 1)) - pulled <= set(bob.seqs("g"))


def mode_of(log: Iterable[AnyEntry], seq: int) -> str:
    """The mode of a conversation after an entry."""
    switches = [e.mode for e in log if isinstance(e, FanoutChanged) and e.seq <= seq]
    return switches[-1] if switches else "push"


async def test_a_topic_of_one_recipient_wakes_its_reader(
    servers: Servers, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With topics for each recipient, a topic created while the gateway runs wakes its owner."""
    monkeypatch.setattr(pace, "_FIRST_LOOK", 1_000.0)
    settings = servers.settings(
        partitions=1, sync_partitions=1, sync_layout="topic-per-recipient",
        jwt_secret=SecretStr(SECRET), gateway_port=free_ports(1)[0],
    )  # fmt: skip
    await asyncio.to_thread(prepare, settings)
    bob = Phone(settings, "bob", http)
    with ExitStack() as stack:
        stack.enter_context(running(settings, "stream_processors"))
        for sink in ("message", "sync"):
            stack.enter_context(running(settings, "sinks", sink))
        async with gateway(settings), asyncio.timeout(4 * PATIENCE):
            await asyncio.to_thread(publish, settings, [create("ann", "c", "bob")])
            await bob.has("c", 1)
            waiting = asyncio.create_task(bob.wait())
            await asyncio.to_thread(publish, settings, [say("ann", "c")])
            async with asyncio.timeout(SOON):
                assert [record["seq"] for record in await waiting] == [2]
