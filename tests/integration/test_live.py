"""Devices that wait at the gateway, on real servers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

import aiohttp
import pytest
from pydantic import SecretStr

from devstack.ports import free_ports
from gateway.live import pace
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
from tests.support.commands import fields_of
from tests.support.gateway import SECRET
from tests.support.live import LivePhone, Phone, gateway
from tests.support.pipeline import prepare
from tests.support.processes import running
from tests.support.topics import publish, timelines
from tests.support.waiting import until

pytestmark = pytest.mark.servers

CROWD: Final = ["陈", "d"]
PATIENCE: Final = 180.0
"""Time limit for one arrival, on a busy machine."""

SOON: Final = 20.0
"""Well below the wait of 30 s; on an idle machine an arrival takes 0.1 s."""

_numbers = itertools.count(1)


def by(sender: str, conv_id: str) -> dict[str, Any]:
    """The fields of a new command."""
    return fields_of(next(_numbers), sender, conv_id)


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
    monkeypatch.setattr(pace, "_FIRST_READ", 1_000.0)
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


async def test_a_live_connection_does_not_wait_for_the_sinks(
    settings: Settings, http: aiohttp.ClientSession
) -> None:
    """While the sink of sync records is stopped, messages arrive, and each once and in order.

    A record of another kind, and the messages after it, arrive when the sink has stored them.
    """
    bob = LivePhone(settings, "bob", http)

    async def knows(seq: int) -> bool:
        assert not following.done()
        return bob.knows("fast", seq)

    async with gateway(settings), asyncio.timeout(4 * PATIENCE):
        following = asyncio.create_task(bob.follow())
        with running(settings, "sinks", "sync"):
            await asyncio.to_thread(publish, settings, [create("ann", "fast", "bob")])
            await until(partial(knows, 1), PATIENCE)
        await asyncio.to_thread(publish, settings, [say("ann", "fast") for _ in range(9)])
        await until(partial(knows, 10), PATIENCE)
        join = AddMembers(**by("ann", "fast"), members=["d"])
        await asyncio.to_thread(publish, settings, [join, say("ann", "fast")])
        with running(settings, "sinks", "sync"):
            await until(partial(knows, 12), PATIENCE)
        assert bob.seqs("fast") == list(range(1, 13))
        following.cancel()


async def test_a_stopping_gateway_answers_and_the_next_gateway_continues(
    settings: Settings, http: aiohttp.ClientSession
) -> None:
    """A stopping gateway answers its waiting clients; the next one returns missed records."""
    bob = Phone(settings, "bob", http)
    with running(settings, "sinks", "sync"):
        async with asyncio.timeout(4 * PATIENCE):
            async with gateway(settings) as address:
                await asyncio.to_thread(publish, settings, [create("ann", "r", "bob")])
                await bob.has("r", 1)
                waiting = asyncio.create_task(bob.wait())
                for _ in range(5):  # requests after the one that waits
                    async with http.get(f"{address}/healthz") as answer:
                        assert answer.status == 200
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
    switching = SwitchingGroup(settings, http)
    with running(settings, "sinks", "sync"):
        async with gateway(settings), asyncio.timeout(8 * PATIENCE):
            await switching.create()
            for _ in range(2):
                await switching.grow_until_pulled()
                await switching.shrink_until_pushed()
            switching.end()
    log = (await asyncio.to_thread(timelines, settings))["g"]
    assert len(log) == switching.head
    switching.assert_a_former_member_learned_nothing(log)
    switching.assert_heads_in_pull_mode_and_records_in_push_mode(log)


class SwitchingGroup:
    """A group that switches between push and pull, with a member and a person who joins twice.

    After each command, all members must know the new head.
    """

    def __init__(self, settings: Settings, http: aiohttp.ClientSession) -> None:
        self._settings = settings
        self._bob, self._chen = (LivePhone(settings, user, http) for user in ("bob", "陈"))
        self._following: list[asyncio.Task[None]] = []
        self.head = 0

    async def create(self) -> None:
        """Connects both devices and creates the group."""
        both = (self._bob, self._chen)
        self._following = [asyncio.create_task(phone.follow()) for phone in both]
        await self._after(create("ann", "g", "bob"), entries=1, members=[self._bob])

    async def grow_until_pulled(self) -> None:
        """Adds people; the group switches to pull. Then two messages."""
        both = [self._bob, self._chen]
        join = AddMembers(**by("ann", "g"), members=CROWD)
        await self._after(join, entries=2, members=both)  # and a switch to pull
        for _ in range(2):
            await self._after(say("ann", "g"), entries=1, members=both)

    async def shrink_until_pushed(self) -> None:
        """Removes the same people; the group switches to push. Then a message."""
        leave = RemoveMembers(**by("ann", "g"), members=CROWD)
        await self._after(leave, entries=2, members=[self._bob])  # and a switch to push
        await self._after(say("ann", "g"), entries=1, members=[self._bob])

    async def _after(self, command: AnyCommand, entries: int, members: list[LivePhone]) -> None:
        self.head += entries
        await asyncio.to_thread(publish, self._settings, [command])

        async def all_know() -> bool:
            assert not any(task.done() for task in self._following)
            return all(phone.knows("g", self.head) for phone in members)

        await until(all_know, PATIENCE)

    def end(self) -> None:
        """Disconnects the devices."""
        for task in self._following:
            task.cancel()

    def assert_a_former_member_learned_nothing(self, log: Iterable[AnyEntry]) -> None:
        """The person who joined twice received nothing from outside the membership periods."""
        changes = [
            (entry.seq, isinstance(entry, MembersAdded))
            for entry in log
            if isinstance(entry, MembersAdded | MembersRemoved) and "陈" in entry.members
        ]
        assert len(changes) == 4
        received = set(self._chen.seqs("g")) | {seq for _, seq in self._chen.heads}
        assert all(visible(periods(changes), SeqId(seq)) for seq in received)

    def assert_heads_in_pull_mode_and_records_in_push_mode(self, log: list[AnyEntry]) -> None:
        """Heads belong to the pull mode, and records cover the push mode, without repetitions."""
        pulled = {seq for seq in range(1, self.head + 1) if mode_of(log, seq) == "pull"}
        assert {seq for _, seq in self._bob.heads + self._chen.heads} <= pulled
        for phone in (self._bob, self._chen):
            assert len(phone.heads) == len(set(phone.heads)) >= 4
            assert phone.seqs("g") == sorted(set(phone.seqs("g")))
        assert set(range(1, self.head + 1)) - pulled <= set(self._bob.seqs("g"))


def mode_of(log: Iterable[AnyEntry], seq: int) -> str:
    """The mode of a conversation after an entry."""
    switches = [e.mode for e in log if isinstance(e, FanoutChanged) and e.seq <= seq]
    return switches[-1] if switches else "push"


async def test_a_topic_of_one_recipient_wakes_its_reader(
    servers: Servers, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With topics for each recipient, a topic created while the gateway runs wakes its owner."""
    monkeypatch.setattr(pace, "_FIRST_READ", 1_000.0)
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
