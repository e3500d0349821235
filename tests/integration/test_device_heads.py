"""A device of a pulled group that is notified over live connections, on real servers."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, aclosing, asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path
from subprocess import Popen
from typing import Any, Final

import pytest
from aiohttp import ClientSession
from pydantic import SecretStr

import consumers.device.device
from consumers.device.device import Device
from consumers.device.gateway_timeline import GatewayTimelines
from consumers.device.knowledge import Listed, TimelineItem
from consumers.device.live_timeline import LiveTimelines
from consumers.device.local_store import LocalStore
from devstack.ports import free_ports
from gateway.http.tokens import issue_token
from schemas.records import CreateConversation, SendMessage, TextContent
from schemas.settings import Settings
from tests.conftest import Servers
from tests.support.commands import fields_of
from tests.support.gateway import SECRET
from tests.support.pipeline import prepare
from tests.support.processes import running
from tests.support.topics import publish
from tests.support.waiting import until

pytestmark = pytest.mark.servers

PATIENCE: Final = 180.0
GROUP: Final = "g"
ROUND: Final = 10

_numbers = itertools.count(1)


def by(sender: str) -> dict[str, Any]:
    """The fields of a new command."""
    return fields_of(next(_numbers), sender, GROUP)


@pytest.fixture
def settings(servers: Servers) -> Iterator[Settings]:
    """A deployment with one group, which is pulled from its second entry on; its pipeline runs."""
    settings = servers.settings(
        partitions=2, sync_partitions=2, push_limit=3, push_again_below=3,
        jwt_secret=SecretStr(SECRET), gateway_port=free_ports(1)[0],
    )  # fmt: skip
    prepare(settings)
    with ExitStack() as stack:
        for process in (("stream_processors",), ("sinks", "message"), ("sinks", "sync")):
            stack.enter_context(running(settings, *process))
        yield settings


class Counting(GatewayTimelines):
    """Counts the requests for the list of conversations."""

    lists = 0

    async def conversations(self) -> list[Listed]:
        """See `History`."""
        self.lists += 1
        return await super().conversations()


class Bob:
    """Bob's device, and the SeqIds that it has shown."""

    def __init__(self, settings: Settings, http: ClientSession) -> None:
        address = f"http://{settings.gateway_host}:{settings.gateway_port}"

        def token() -> str:
            return issue_token(settings, "bob", timedelta(minutes=5))

        self.seqs: list[int] = []
        self.history = Counting(address, token, http)
        self._live = LiveTimelines(address, token, http)

    @asynccontextmanager
    async def following(self, path: Path) -> AsyncIterator[None]:
        """Runs the device until the end of the block."""
        stop = asyncio.Event()
        with closing(LocalStore(path, "bob", "phone")) as store:
            async with aclosing(self._live):
                device = Device(store, self._live, self.history, self._show)
                task = asyncio.create_task(device.run(stop))
                try:
                    yield
                finally:
                    stop.set()
                    await task

    def _show(self, item: TimelineItem) -> None:
        assert item.hole is None
        assert item.first == len(self.seqs) + 1, "shown out of order"
        self.seqs.append(item.first)


class Talk:
    """The messages in the group, and bob's progress."""

    def __init__(self, settings: Settings, bob: Bob) -> None:
        self.head = 0
        self._settings = settings
        self._bob = bob

    async def begin(self) -> None:
        """Creates the group: an entry, and its switch to pull."""
        members = ["bob", "c", "d"]
        created = CreateConversation(**by("ann"), members=members)
        await asyncio.to_thread(publish, self._settings, [created])
        self.head = 2
        await self.shown()

    async def say(self, count: int) -> None:
        """Sends messages; the fourth of every ten mentions bob."""
        said = [
            SendMessage(
                **by("ann"),
                content=TextContent(text="hello"),
                mentions=["bob"] if number % 10 == 3 else [],
            )
            for number in range(count)
        ]
        await asyncio.to_thread(publish, self._settings, said)
        self.head += count

    async def shown(self) -> None:
        """Waits until the device has shown every message."""

        async def is_shown() -> bool:
            return len(self._bob.seqs) >= self.head

        await until(is_shown, PATIENCE)
        assert self._bob.seqs == list(range(1, self.head + 1))

    async def is_told(self) -> bool:
        """Whether the device shows the next messages without a request for the list."""
        lists = self._bob.history.lists
        for _ in range(2):  # a list request in flight may have had the first
            await self.say(1)
            await self.shown()
        return self._bob.history.lists == lists

    async def is_told_of_rounds(self) -> bool:
        """Whether the device shows three rounds of messages without a request for the list."""
        lists = self._bob.history.lists
        for _ in range(3):
            await self.say(ROUND)
            await self.shown()
        return self._bob.history.lists == lists


async def ended(gateway: Popen[bytes], *, kill: bool) -> None:
    """Ends the gateway's process, in order or with SIGKILL."""
    (gateway.kill if kill else gateway.terminate)()
    await asyncio.to_thread(gateway.wait, PATIENCE)


async def test_a_device_receives_heads_without_requesting_them(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device follows heads from its live connection, without requests for the list.

    The gateway is stopped and killed: nothing is lost, and the device shows everything in order.
    Messages sent while no gateway ran appear later, and then the device is notified again. Without
    notifications, the device would request the list in every step of this test.
    """
    monkeypatch.setattr(consumers.device.device, "HEADS_AGE_SECONDS", 0.0)
    monkeypatch.setattr(consumers.device.device, "REVIEW_SECONDS", math.inf)
    async with AsyncExitStack() as stack:
        bob = Bob(settings, await stack.enter_async_context(ClientSession()))
        talk = Talk(settings, bob)
        await stack.enter_async_context(bob.following(tmp_path / "local.db"))
        for kill in (False, True):
            with running(settings, "gateway") as gateway:
                await (talk.shown() if talk.head else talk.begin())
                await until(talk.is_told, PATIENCE)
                # Repeated, because a connection that was cut for its slowness needs the list once.
                await until(talk.is_told_of_rounds, PATIENCE)
                await talk.say(ROUND)
                await ended(gateway, kill=kill)
            await talk.say(ROUND)
        with running(settings, "gateway"):
            await talk.shown()
            await until(talk.is_told, PATIENCE)
