"""Many live clients that do not read: their memory and time are bounded, and nobody waits."""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Final

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, TCPConnector, WSMsgType

from gateway import bounds
from gateway.http import live_socket
from gateway.http.connection import Connection
from gateway.http.connections import Connections, OpenConnection
from gateway.http.tokens import issue_token
from gateway.log.wake_ups import Wake, WakeUps
from gateway.reads.sync_page import MAX_PAGE_BYTES
from schemas.number_types import SyncSeqId
from tests.support.gateway import Caller, serving, token_settings
from tests.support.gateway_store import FakeIndex, FakeStore, message
from tests.support.peers import Peer, peer, upgrade
from tests.support.running_time import running_time
from tests.support.waiting import until

SLOW: Final = 200
OTHERS: Final = 500
MEASURED: Final = 50
"""Clients that receive the same message. `OTHERS` is a multiple."""

RECORDS: Final = 600
"""Records of 8 KB for each client: more than all buffers of its connection."""

SLOW_SECONDS: Final = 6.0
"""The bound of this test for a send; in production it is longer. The other clients would have this
delay if they waited for slow ones."""

ALL_SECONDS: Final = 400.0
"""Time limit of the whole test, on a busy machine."""


class NotedConnections:
    """The open connections of the gateway, and their largest write buffer so far."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.largest = 0
        self._open: list[OpenConnection] = []
        admit = Connections.admit

        def noting(connections: Connections, connection: OpenConnection) -> bool:
            self._open.append(connection)
            return admit(connections, connection)

        monkeypatch.setattr(Connections, "admit", noting)

    def look(self) -> None:
        """Notes the largest buffer now."""
        for each in self._open:
            assert isinstance(each, Connection)
            if each.transport is not None:
                self.largest = max(self.largest, each.transport.get_write_buffer_size())


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> NotedConnections:
    """Looks at the connections."""
    monkeypatch.setattr(live_socket, "SLOW_SECONDS", SLOW_SECONDS)
    monkeypatch.setattr(bounds, "CLOSE_SECONDS", 1.0)
    return NotedConnections(monkeypatch)


@pytest.fixture
async def woken() -> WakeUps:
    """Wake-ups of a connected log."""
    woken = WakeUps()
    woken.now_live(is_live=True)
    return woken


@pytest.fixture
def store() -> FakeStore:
    """Long sync timelines of the slow people; empty ones of the others."""
    store = FakeStore()
    store.put_message(message("large", 1, text="x" * 8_000))
    for number, sync_seq in itertools.product(range(SLOW), range(RECORDS)):
        store.put_reference(f"slow{number}", sync_seq, "large", 1)
    return store


@pytest.fixture
async def gateway(
    store: FakeStore, woken: WakeUps, noted: NotedConnections
) -> AsyncIterator[Caller]:
    """A gateway, served as in production."""
    del noted  # before the first connection
    async with serving(token_settings(), store, FakeIndex(), woken) as caller:
        yield caller


class Crowd:
    """The clients that read."""

    def __init__(self, gateway: Caller, store: FakeStore, woken: WakeUps) -> None:
        self._gateway = gateway
        self._store = store
        self._woken = woken
        self._sockets: list[ClientWebSocketResponse] = []
        self._seq = 0

    async def connect(self, stack: AsyncExitStack) -> None:
        """Connects all."""
        http = await stack.enter_async_context(ClientSession(connector=TCPConnector(limit=0)))
        for number in range(OTHERS):
            token = issue_token(self._gateway.settings, f"user{number}", timedelta(minutes=5))
            connecting = http.ws_connect(
                f"{self._gateway.base}/v1/live?after=0",
                headers={"Authorization": f"Bearer {token}"},
            )
            socket = await stack.enter_async_context(connecting)
            assert (await socket.receive_json())["kind"] == "begun"
            self._sockets.append(socket)

    async def delays(self) -> list[float]:
        """The delays of one message to `MEASURED` of the clients in turn, in seconds.

        Pauses of the process do not count.
        """
        first = self._seq * MEASURED % OTHERS
        self._seq += 1
        people = [f"user{number}" for number in range(first, first + MEASURED)]
        for user in people:
            self._store.put_synced(user, self._seq, message("c", self._seq))
        with running_time() as clock:
            begun = clock()
            self._woken.woke(Wake(dict.fromkeys(people, SyncSeqId(self._seq)), {}))

            async def delay(socket: ClientWebSocketResponse) -> float:
                received = await socket.receive(timeout=ALL_SECONDS)
                assert received.type is WSMsgType.TEXT
                return clock() - begun

            return await asyncio.gather(*map(delay, self._sockets[first : first + MEASURED]))


async def test_many_slow_readers_are_bounded_and_delay_nobody(
    gateway: Caller,
    store: FakeStore,
    woken: WakeUps,
    noted: NotedConnections,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """200 clients that do not read are ended with 4408; 500 others get each message meanwhile.

    No connection holds more than one page in the gateway. Its kernel buffer has a fixed size.
    """
    caplog.set_level("INFO")
    async with AsyncExitStack() as stack:
        crowd = Crowd(gateway, store, woken)
        await crowd.connect(stack)
        slow = [await stack.enter_async_context(peer(gateway)) for _ in range(SLOW)]
        for number, each in enumerate(slow):
            await each.send(upgrade(gateway, f"slow{number}", "?limit=500"))
        assert woken.listeners >= OTHERS
        medians = []

        async def is_over() -> bool:
            noted.look()
            medians.append(statistics.median(await crowd.delays()))
            noted.look()
            return caplog.text.count("4408 slow") == SLOW and woken.listeners == OTHERS

        await until(is_over, ALL_SECONDS)
        assert medians
        # A connection that waits for a slow one waits until the slow one is ended.
        assert statistics.median(medians) < SLOW_SECONDS
        largest_item = 10_000
        assert MAX_PAGE_BYTES / 2 < noted.largest <= MAX_PAGE_BYTES + largest_item
        for each in slow:
            await disconnected(each)


async def disconnected(each: Peer) -> None:
    """Reads what is left until the connection is closed."""
    await each.ends()
