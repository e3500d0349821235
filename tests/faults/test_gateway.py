"""A gateway whose broker is stopped, killed and restarted, while devices wait at the gateway."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from subprocess import Popen
from typing import Any, Final

import pytest
from aiohttp import ClientSession
from pydantic import SecretStr

from devstack.ports import free_ports
from devstack.stack import Stack
from gateway.live import pace
from schemas.ids import uuid7
from schemas.records import AnyCommand, CreateConversation, SendMessage, TextContent
from schemas.settings import Settings
from tests.conftest import Servers
from tests.support.gateway import SECRET
from tests.support.live import LivePhone, Phone, gateway
from tests.support.pipeline import prepare
from tests.support.processes import running
from tests.support.servers import addresses
from tests.support.topics import publish
from tests.support.waiting import until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

PATIENCE: Final = 90.0
PUSHED, PULLED = "pushed", "pulled"

_ids = (uuid7(number, 0) for number in itertools.count(1))


def by_ann(conv_id: str) -> dict[str, Any]:
    """The fields that all commands have."""
    return {"conv_id": conv_id, "sender": "ann", "device_id": "d", "client_msg_id": next(_ids)}


def one_each() -> list[AnyCommand]:
    """One message to each of the two conversations."""
    content = TextContent(text="hello")
    return [SendMessage(**by_ann(conv_id), content=content) for conv_id in (PUSHED, PULLED)]


@pytest.fixture
def settings(stack: Stack, tmp_path: Path) -> Iterator[Settings]:
    """A deployment with low limits on servers that a test may kill; its sinks run."""
    settings = Servers(tmp_path, addresses(stack)).settings(
        partitions=2, sync_partitions=2, push_limit=3, push_again_below=3,
        jwt_secret=SecretStr(SECRET), gateway_port=free_ports(1)[0],
    )  # fmt: skip
    prepare(settings)
    with ExitStack() as processes:
        for process in (("sinks", "message"), ("sinks", "sync")):
            processes.enter_context(running(settings, *process))
        yield settings


def sequencer(settings: Settings) -> AbstractContextManager[Popen[bytes]]:
    """A worker. It may end when its broker is down; the test then starts the next one."""
    return running(settings, "stream_processors")


async def until_kafka_is(state: str, address: str, http: ClientSession) -> None:
    """Waits until the gateway reports this state of Kafka."""

    async def is_so() -> bool:
        async with http.get(f"{address}/healthz") as response:
            return bool((await response.json())["kafka"] == state)

    await until(is_so, PATIENCE)


async def test_waiting_devices_continue_after_the_broker_was_stopped(
    stack: Stack, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart of the broker ends no wait and no connection of the gateway's clients.

    While the broker is down, `/healthz` reports this and waits time out as usual. After the
    gateway reports that it follows the log again, the log alone wakes the waiting clients: polling
    is disabled in this test. Every client receives each later record once and in order.
    """
    monkeypatch.setattr(pace, "_FIRST_LOOK", 1_000.0)
    async with ClientSession() as http, gateway(settings) as address, asyncio.timeout(500):
        bob, desk = Phone(settings, "bob", http), Phone(settings, "bob", http)
        chen = LivePhone(settings, "陈", http)
        following = asyncio.create_task(chen.follow())

        async def both_know(seq: int) -> None:
            async def knows() -> bool:
                assert not following.done()
                return chen.knows(PUSHED, seq) and chen.knows(PULLED, seq + 1)

            await bob.has(PUSHED, seq)
            await until(knows, PATIENCE)

        created: list[AnyCommand] = [
            CreateConversation(**by_ann(PUSHED), members=["bob", "陈"]),
            CreateConversation(**by_ann(PULLED), members=["bob", "陈", "d"]),
        ]
        with sequencer(settings):
            await asyncio.to_thread(publish, settings, created)
            await both_know(1)
        for phone in (bob, desk):
            await phone.has(PULLED, 2)  # the last entry before the broker stops
        waiting = asyncio.create_task(desk.has(PUSHED, 2))
        await asyncio.to_thread(stack.stop, "kafka")
        await until_kafka_is("down", address, http)
        assert await bob.wait(1) == []
        for first in (2, 4):
            await asyncio.to_thread(stack.start, "kafka")
            await asyncio.to_thread(stack.await_ready, "kafka")
            await until_kafka_is("up", address, http)
            with sequencer(settings):
                for seq in (first, first + 1):
                    await asyncio.to_thread(publish, settings, one_each())
                    await both_know(seq)
            await waiting
            if first == 2:
                waiting = asyncio.create_task(desk.has(PUSHED, 4))
                await asyncio.to_thread(stack.kill, "kafka")
        await desk.has(PUSHED, 5)
        assert not following.done()
        following.cancel()
    assert desk.seqs(PUSHED) == [1, 2, 3, 4, 5]
    assert bob.seqs(PUSHED) == chen.seqs(PUSHED) == [1, 2, 3, 4, 5]
    assert chen.seqs(PULLED) == [1, 2]
    heads = [seq for conv_id, seq in chen.heads if conv_id == PULLED]
    assert heads == sorted(set(heads))
    assert heads[-1] == 6
