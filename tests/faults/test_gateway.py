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
from schemas.records import AnyCommand, CreateConversation, SendMessage, TextContent
from schemas.settings import Settings
from tests.conftest import Servers
from tests.support.commands import fields_of
from tests.support.gateway import SECRET
from tests.support.live import LivePhone, Phone, gateway
from tests.support.operators import OPERATOR, Operator
from tests.support.pipeline import prepare
from tests.support.processes import running
from tests.support.servers import addresses
from tests.support.topics import publish
from tests.support.waiting import until

pytestmark = pytest.mark.servers

PATIENCE: Final = 180.0
PUSHED, PULLED = "pushed", "pulled"

_numbers = itertools.count(1)


def by_ann(conv_id: str) -> dict[str, Any]:
    """The fields of a new command of ann."""
    return fields_of(next(_numbers), "ann", conv_id)


def one_each() -> list[AnyCommand]:
    """One message to each of the two conversations."""
    content = TextContent(text="hello")
    return [SendMessage(**by_ann(conv_id), content=content) for conv_id in (PUSHED, PULLED)]


@pytest.fixture
def settings(stack: Stack, tmp_path: Path) -> Iterator[Settings]:
    """A deployment with low limits on servers that a test may kill; its sinks run."""
    settings = Servers(tmp_path, addresses(stack)).settings(
        partitions=2, sync_partitions=2, push_limit=3, push_again_below=3,
        jwt_secret=SecretStr(SECRET), gateway_port=free_ports(1)[0], operators=OPERATOR,
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


class WaitingDevices:
    """Devices of a pushed and a pulled conversation that wait at a gateway.

    Two devices of bob use requests that wait; one device of 陈 has a live connection. `_desk`
    waits during each outage of the broker.
    """

    def __init__(self, settings: Settings, http: ClientSession) -> None:
        self._settings = settings
        self._bob, self._desk = Phone(settings, "bob", http), Phone(settings, "bob", http)
        self._chen = LivePhone(settings, "陈", http)
        self._following = asyncio.create_task(self._chen.follow())
        self._waiting: asyncio.Task[None] | None = None

    async def all_know(self, seq: int) -> None:
        """Waits until bob's device and the live connection know an entry of both conversations."""

        async def knows() -> bool:
            assert not self._following.done()
            return self._chen.knows(PUSHED, seq) and self._chen.knows(PULLED, seq + 1)

        await self._bob.has(PUSHED, seq)
        await until(knows, PATIENCE)

    async def create(self) -> None:
        """Creates both conversations. Bob's devices have everything before the outage."""
        created: list[AnyCommand] = [
            CreateConversation(**by_ann(PUSHED), members=["bob", "陈"]),
            CreateConversation(**by_ann(PULLED), members=["bob", "陈", "d"]),
        ]
        with sequencer(self._settings):
            await asyncio.to_thread(publish, self._settings, created)
            await self.all_know(1)
        for phone in (self._bob, self._desk):
            await phone.has(PULLED, 2)  # the last entry before the broker stops

    def wait_for(self, seq: int) -> None:
        """Begins a wait that lasts until this entry arrives."""
        self._waiting = asyncio.create_task(self._desk.has(PUSHED, seq))

    async def time_out(self) -> None:
        """A wait during the outage ends without records."""
        assert await self._bob.wait(1) == []

    async def receive_two(self, first: int) -> None:
        """Sends two messages to each conversation; the waiting device receives the first."""
        with sequencer(self._settings):
            for seq in (first, first + 1):
                await asyncio.to_thread(publish, self._settings, one_each())
                await self.all_know(seq)
        assert self._waiting is not None
        await self._waiting

    async def end(self) -> None:
        """Ends the live connection, which no outage has ended."""
        await self._desk.has(PUSHED, 5)
        assert not self._following.done()
        self._following.cancel()

    def assert_each_record_arrived_once_in_order(self) -> None:
        """Every client has each record once; the heads of the pulled conversation increase."""
        assert self._desk.seqs(PUSHED) == [1, 2, 3, 4, 5]
        assert self._bob.seqs(PUSHED) == self._chen.seqs(PUSHED) == [1, 2, 3, 4, 5]
        assert self._chen.seqs(PULLED) == [1, 2]
        heads = [seq for conv_id, seq in self._chen.heads if conv_id == PULLED]
        assert heads == sorted(set(heads))
        assert heads[-1] == 6


async def restart_kafka(stack: Stack, address: str, http: ClientSession) -> None:
    """Starts the broker, and waits until the gateway follows the log again."""
    await asyncio.to_thread(stack.start, "kafka")
    await asyncio.to_thread(stack.await_ready, "kafka", seconds=300)
    await until_kafka_is("up", address, http)


async def test_waiting_devices_continue_after_the_broker_was_stopped(
    stack: Stack, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart of the broker ends no wait and no connection of the gateway's clients.

    While the broker is down, `/healthz` reports this and waits time out as usual. After the
    gateway reports that it follows the log again, the log alone wakes the waiting clients: polling
    is disabled in this test. Every client receives each later record once and in order. The
    answer to an operator names the trouble while the broker is down.
    """
    monkeypatch.setattr(pace, "_FIRST_READ", 1_000.0)
    async with ClientSession() as http, gateway(settings) as address, asyncio.timeout(800):
        devices = WaitingDevices(settings, http)
        await devices.create()
        devices.wait_for(2)
        await asyncio.to_thread(stack.stop, "kafka")
        await until_kafka_is("down", address, http)
        await devices.time_out()
        operator = Operator(settings, address, http)
        await operator.until_trouble(is_told=True)
        await restart_kafka(stack, address, http)
        await operator.until_trouble(is_told=False)
        await devices.receive_two(2)
        devices.wait_for(4)
        await asyncio.to_thread(stack.kill, "kafka")
        await restart_kafka(stack, address, http)
        await devices.receive_two(4)
        await devices.end()
    devices.assert_each_record_arrived_once_in_order()
