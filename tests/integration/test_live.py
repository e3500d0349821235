"""Devices that wait at the gateway, on real servers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import Any, Final

import aiohttp
import pytest
from pydantic import SecretStr

from devstack.ports import free_ports
from gateway import pace
from schemas.ids import uuid7
from schemas.records import CreateConversation, SendMessage, TextContent
from schemas.settings import Settings
from tests.conftest import Servers
from tests.support.gateway import SECRET
from tests.support.live import Phone, gateway
from tests.support.pipeline import prepare
from tests.support.processes import running
from tests.support.topics import publish

pytestmark = pytest.mark.servers

PATIENCE: Final = 60.0
"""For one thing to arrive, on a machine that does much else."""

SOON: Final = 20.0
"""Well before a wait of 30 s is over; on a machine that does nothing else it is 0.1 s."""

_ids = (uuid7(number, 0) for number in itertools.count(1))


def by(sender: str, conv_id: str) -> dict[str, Any]:
    """What every command has."""
    return {"conv_id": conv_id, "sender": sender, "device_id": "d", "client_msg_id": next(_ids)}


def say(sender: str, conv_id: str, text: str = "hello") -> SendMessage:
    """A message."""
    return SendMessage(**by(sender, conv_id), content=TextContent(text=text))


def create(sender: str, conv_id: str, *members: str) -> CreateConversation:
    """A conversation."""
    return CreateConversation(**by(sender, conv_id), members=list(members))


@pytest.fixture(scope="module")
def settings(servers: Servers) -> Iterator[Settings]:
    """A deployment with low limits: the sequencer and the sink of messages run."""
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
    """What carries the requests."""
    async with aiohttp.ClientSession() as session:
        yield session


async def test_a_message_comes_to_who_waits(
    settings: Settings, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log wakes the device: it is answered long before the gateway looks by itself.

    So it is where the sink of sync records is stopped for some seconds: the answer comes when the
    sink has stored it, and to nobody else.
    """
    monkeypatch.setattr(pace, "_FIRST_LOOK", 1_000.0)
    bob, eve = Phone(settings, "bob", http), Phone(settings, "eve", http)
    async with gateway(settings), asyncio.timeout(4 * PATIENCE):
        with running(settings, "sinks", "sync"):
            await asyncio.to_thread(publish, settings, [create("ann", "c", "bob")])
            await bob.has("c", 1)
            nothing = asyncio.create_task(eve.wait())
            waiting = asyncio.create_task(bob.wait())
            await asyncio.sleep(0.5)  # both wait by now; were they not, it would do no harm
            await asyncio.to_thread(publish, settings, [say("ann", "c")])
            async with asyncio.timeout(SOON):
                assert [record["seq"] for record in await waiting] == [2]
        third = asyncio.create_task(bob.has("c", 3))
        await asyncio.to_thread(publish, settings, [say("ann", "c")])
        await asyncio.sleep(2)  # the sink is not there; the answer must not come before it
        assert not third.done()
        with running(settings, "sinks", "sync"):
            await third
        assert bob.seqs("c") == [1, 2, 3]
        assert await nothing == []


async def test_a_gateway_that_ends_answers_and_the_next_one_goes_on(
    settings: Settings, http: aiohttp.ClientSession
) -> None:
    """Who waits is answered at its end; what came while none was there is not missed."""
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
