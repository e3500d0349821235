"""A device on a live connection to a gateway with a store in memory; connections break."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from aiohttp import ClientSession

import consumers.device.device
import consumers.device.gateway_timeline
import consumers.device.live_timeline
import im_timeline_client.gateway
import im_timeline_client.items
import im_timeline_client.live_source
import im_timeline_client.transport
from consumers.device.device import Device
from consumers.device.gateway_timeline import GatewayTimelines
from consumers.device.knowledge import Listed, SyncBatch, TimelineItem
from consumers.device.live_timeline import LiveTimelines
from consumers.device.local_store import LocalStore
from devstack.ports import free_ports
from gateway.contacts.address_log import PushInputs
from gateway.http.tokens import issue_token
from gateway.log.wake_ups import Wake, WakeUps
from gateway.store.store_port import StoredEntry
from im_timeline_client import connect
from schemas.codec import encode
from schemas.errors import Trimmed
from schemas.number_types import Milliseconds, SeqId, SyncSeqId
from schemas.records import FanoutChanged, MessageSent
from tests.support.forwarding import Forwarder
from tests.support.gateway import serving, token_settings
from tests.support.gateway_store import FakeIndex, FakeStore, message
from tests.support.push_inputs import Live
from tests.support.waiting import until

SETTINGS: Final = token_settings()
SECONDS: Final = 60.0
"""A bound for steps that take almost no time on an idle machine."""

BREAKS: Final = 10


class Chat(FakeStore):
    """The store of a gateway with the pulled conversation c; it also sends the log's wake-ups."""

    def __init__(self, woken: WakeUps) -> None:
        super().__init__()
        self.woken = woken
        self.head = self.sync_seq = 0
        self.put_change("ann", "c", 1, joined=True)
        pulled = FanoutChanged(
            conv_id="c",
            seq=SeqId(1),
            sender="bob",
            client_msg_id="i",
            at=Milliseconds(1),
            mode="pull",
            member_count=9,
            push_limit=4,
            push_again_below=4,
        )
        self._append(pulled)
        self._send(pulled)

    def say(self, *, mention: bool = False) -> None:
        """Store the next message; ann gets a sync record if it mentions her."""
        entry = message("c", self.head + 1)
        self._append(entry)
        if mention:
            self._send(entry)

    def _append(self, entry: MessageSent | FanoutChanged) -> None:
        self.head = entry.seq
        kind = str(entry.__struct_config__.tag)
        self._entries["c", entry.seq] = StoredEntry(entry.seq, kind, encode(entry))
        self.put_conversation("c", entry.seq, "pull")
        self.woken.woke(Wake({}, {"c": entry.seq}))

    def _send(self, entry: MessageSent | FanoutChanged) -> None:
        self.sync_seq += 1
        self.put_reference("ann", self.sync_seq, "c", entry.seq)
        self.woken.woke(Wake({"ann": SyncSeqId(self.sync_seq)}, {}))


class Counting(GatewayTimelines):
    """Counts the requests for the list of conversations."""

    lists = 0

    async def conversations(self) -> list[Listed]:
        self.lists += 1
        return await super().conversations()


class Line:
    """The connection of a device to its gateway.

    Args:
        chat: The gateway's store.
        forwarder: An open forwarder.
        address: The address of the forwarder.
        direct: The address of the gateway itself, for history.
        http: The session for requests and connections.
    """

    def __init__(
        self, chat: Chat, forwarder: Forwarder, address: str, direct: str, http: ClientSession
    ) -> None:
        self.chat = chat
        self.forwarder = forwarder
        self.people = Live()
        self.token_seconds = 60.0
        self.tokens = 0
        self.address = address
        self.live = LiveTimelines(address, self.token, http)
        self.history = Counting(direct, self.token, http)

    def token(self) -> str:
        """Return a token, and count the calls."""
        self.tokens += 1
        return issue_token(SETTINGS, "ann", timedelta(seconds=self.token_seconds))

    async def next_batch(self, cursor: int) -> SyncBatch:
        """Return the next live batch with records or heads."""
        async with asyncio.timeout(SECONDS):
            while True:
                batch = await self.live.after(SyncSeqId(cursor), 1)
                if batch.heads is not None and (batch.heads or batch.arrived):
                    return batch

    async def says(self, noted: list[bool]) -> None:
        """Wait until the clients have said this, in this order."""

        async def have_said() -> bool:
            return self.people.noted == noted

        await until(have_said, SECONDS)

    async def begins(self, cursor: int) -> None:
        """Wait until a connection has begun; then a batch contains the heads, maybe none."""

        async def has_begun() -> bool:
            return (await self.live.after(SyncSeqId(cursor))).heads is not None

        await until(has_begun, SECONDS)


@pytest.fixture
async def line(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Line]:
    """A gateway with an open line to it; the pauses between retries are short."""
    monkeypatch.setattr(im_timeline_client.live_source, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(im_timeline_client.live_source, "LONGEST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(im_timeline_client.live_source, "SPREAD_SECONDS", 0.01)
    woken = WakeUps()
    woken.now_live(is_live=True)
    chat, port, people = Chat(woken), free_ports(1)[0], Live()
    async with (
        serving(SETTINGS, chat, FakeIndex(), woken, push=PushInputs(live=people)) as gateway,
        ClientSession() as http,
    ):
        forwarder = Forwarder(port, "127.0.0.1", int(gateway.base.rpartition(":")[2]))
        await forwarder.open()
        line = Line(chat, forwarder, f"http://127.0.0.1:{port}", gateway.base, http)
        line.people = people
        try:
            async with aclosing(line.live):
                yield line
        finally:
            await forwarder.cut()


async def test_records_and_heads_are_delivered(line: Line) -> None:
    """Records after the cursor and heads arrive over the connection, without further requests."""
    await line.begins(1)
    asked = line.tokens
    for number in range(5):
        line.chat.say(mention=number == 3)
        batch = await line.next_batch(1)
        if batch.arrived:
            assert (batch.after, [each.sync_seq for each in batch.arrived]) == (1, [2])
            break
        assert batch.heads == {"c": line.chat.head}
    assert line.tokens == asked


async def test_a_new_connection_requires_a_request_for_heads(line: Line) -> None:
    """The first batch of a connection asks for a read of the heads, which may have moved."""
    was_asked = True
    async with asyncio.timeout(SECONDS):
        while True:
            tokens = line.tokens
            batch = await line.live.after(SyncSeqId(1))
            if batch.heads is not None:
                break
            was_asked = line.tokens > tokens
    assert not was_asked


async def test_records_that_were_not_applied_are_delivered_again(line: Line) -> None:
    """A cursor that did not advance gets its records again, over a new connection."""
    await line.begins(-1)
    assert [each.sync_seq for each in (await line.next_batch(-1)).arrived] == [1]
    line.chat.say(mention=True)
    async with asyncio.timeout(SECONDS):
        again: list[int] = []
        while again[:2] != [1, 2]:
            batch = await line.live.after(SyncSeqId(-1), 1)
            again = [each.sync_seq for each in batch.arrived]
            assert again in ([], [1, 2])


async def test_an_expired_timeline_raises_its_own_error(line: Line) -> None:
    """An expired cursor raises `Trimmed`, as over HTTP; a cursor after that part continues."""
    await line.begins(1)
    line.chat.put_expiry("ann", 1, 2, 8)
    line.chat.put_synced("ann", 9, message("c", 2))
    line.chat.woken.woke(Wake({"ann": SyncSeqId(9)}, {}))
    with pytest.raises(Trimmed) as trimmed:
        await line.next_batch(1)
    assert (trimmed.value.cursor, trimmed.value.oldest) == (1, 9)
    async with asyncio.timeout(SECONDS):
        while not (batch := await line.live.after(SyncSeqId(8), 1)).arrived:
            pass
    assert [each.sync_seq for each in batch.arrived] == [9]


async def test_an_expired_token_is_replaced(line: Line) -> None:
    """After a connection with an expired token ends, a new token opens the next connection."""
    line.token_seconds = 2.5
    await line.begins(1)
    before = line.tokens
    async with asyncio.timeout(SECONDS):
        while line.tokens == before:
            await line.live.after(SyncSeqId(1), 1)
    line.token_seconds = 60
    await line.begins(1)
    line.chat.say()
    assert (await line.next_batch(1)).heads == {"c": 2}


async def test_a_gateway_that_ends_is_left_without_a_pause(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 1012 a device connects again at once, however often, without a backoff."""
    for name in ("FIRST_PAUSE_SECONDS", "LONGEST_PAUSE_SECONDS", "SPREAD_SECONDS"):
        monkeypatch.setattr(im_timeline_client.live_source, name, 1_000.0)
    for _ in range(3):
        await line.begins(1)
        for listener in line.chat.woken._all():  # noqa: SLF001 - the gateway itself goes on
            listener.end()


async def test_a_device_reconnects_to_an_unreachable_gateway(line: Line) -> None:
    """An unreachable gateway is requested over HTTP, and the connection is retried."""
    await line.begins(1)
    await line.forwarder.cut()
    line.chat.say(mention=True)
    with suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            await line.live.after(SyncSeqId(1))
    await line.forwarder.open()
    async with asyncio.timeout(SECONDS):
        while not (batch := await line.live.after(SyncSeqId(1), 1)).arrived:
            pass
    assert [each.sync_seq for each in batch.arrived] == [2]
    await line.begins(2)


async def test_each_connection_of_a_device_says_that_nobody_looks(line: Line) -> None:
    """The state is sent at its change, and at each later connection unless it is active."""
    await line.live.set_active(is_active=False)
    await line.begins(1)
    await line.says([False])
    await line.live.set_active(is_active=False)
    await line.forwarder.cut()
    await line.forwarder.open()
    await line.begins(1)
    await line.says([False, False])
    await line.live.set_active(is_active=True)
    await line.says([False, False, True])
    await line.forwarder.cut()
    await line.forwarder.open()
    await line.begins(1)
    await line.live.set_active(is_active=False)
    await line.says([False, False, True, False])


async def test_an_iteration_of_the_client_says_whether_somebody_looks(line: Line) -> None:
    """The iteration can say so before its first connection, and later."""
    async with connect(line.address, line.token) as client:
        items = client.items()
        await items.set_active(is_active=False)
        taking = asyncio.ensure_future(anext(items))
        await line.says([False])
        await items.set_active(is_active=True)
        await line.says([False, True])
        line.chat.say()
        async with asyncio.timeout(SECONDS):
            assert (await taking).first == 2


class Shown:
    """A device on a live connection, with the SeqIds that it showed."""

    def __init__(self, line: Line, store: LocalStore) -> None:
        self.seqs: list[int] = []
        self._line = line
        self._device = Device(store, line.live, line.history, self._show)

    def _show(self, item: TimelineItem) -> None:
        assert (item.hole, item.first, item.last) == (None, len(self.seqs) + 1, item.last)
        self.seqs.append(item.first)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the device until the block ends."""
        stop = asyncio.Event()
        task = asyncio.create_task(self._device.run(stop))
        try:
            yield
        finally:
            stop.set()
            await task

    async def all(self) -> bool:
        """Return whether the device has shown every entry."""
        return len(self.seqs) == self._line.chat.head


class Breaking:
    """Connections that break after arbitrary bytes, while bob talks."""

    def __init__(self, line: Line, seed: int) -> None:
        self.drawn = random.Random(seed)
        self.breaks = 0
        self._line = line
        line.forwarder.life = self._life

    def _life(self) -> int:
        self.breaks += 1
        handshake, some = self.drawn.randrange(1, 500), self.drawn.randrange(500, 1_500)
        return self.drawn.choice([handshake, some, some, 4_000])

    async def talk(self) -> None:
        """Say something until a number of connections have broken; later ones do not break."""
        async with asyncio.timeout(SECONDS):
            while self.breaks < BREAKS:
                self._line.chat.say(mention=self.drawn.random() < 0.3)
                await asyncio.sleep(self.drawn.choice([0, 0.01, 0.1]))
        self._line.forwarder.life = lambda: None


async def test_a_device_with_a_live_connection_sends_no_requests(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device on a connection requests the heads only at its start and after the begin.

    Without the connection this device would request them in every step.
    """
    monkeypatch.setattr(consumers.device.device, "HEADS_AGE_SECONDS", 0.0)
    with closing(LocalStore(tmp_path / "local.db", "ann", "phone")) as store:
        shown = Shown(line, store)
        async with shown.running():
            await until(shown.all, SECONDS)

            async def is_told() -> bool:
                lists = line.history.lists
                for _ in range(2):  # a list in flight may have contained the first message
                    line.chat.say()
                    await until(shown.all, SECONDS)
                return line.history.lists == lists

            await until(is_told, SECONDS)
            lists = line.history.lists
            for number in range(20):
                line.chat.say(mention=number % 5 == 0)
                await until(shown.all, SECONDS)
            assert line.history.lists == lists


@pytest.mark.parametrize("seed", range(3))
async def test_no_record_is_lost_wherever_a_connection_breaks(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Connections break after arbitrary bytes; every entry is shown once and in order."""
    monkeypatch.setattr(consumers.device.device, "HEADS_AGE_SECONDS", 0.05)
    monkeypatch.setattr(consumers.device.device, "AFTER_FAILURE_SECONDS", 0.05)
    monkeypatch.setattr(consumers.device.live_timeline, "SYNC_PAGE", 3)
    monkeypatch.setattr(consumers.device.gateway_timeline, "SYNC_PAGE", 3)
    monkeypatch.setattr(im_timeline_client.transport, "LONGEST_PAUSE_SECONDS", 0.05)
    breaking = Breaking(line, seed)
    with closing(LocalStore(tmp_path / "local.db", "ann", "phone")) as store:
        shown = Shown(line, store)
        async with shown.running():
            await breaking.talk()
            await until(shown.all, SECONDS)
    assert shown.seqs == list(range(1, line.chat.head + 1))


@pytest.mark.parametrize("seed", range(3))
async def test_the_python_client_loses_no_entry_wherever_a_connection_breaks(
    line: Line, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The scenario of the device: the client shows every entry after its begin, once, in order.

    Connections of requests break as well. Checkpoints continue the iteration.
    """
    monkeypatch.setattr(im_timeline_client.items, "HEADS_AGE_SECONDS", 0.05)
    monkeypatch.setattr(im_timeline_client.items, "LONGEST_FAILURE_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(im_timeline_client.gateway, "SYNC_PAGE", 3)
    monkeypatch.setattr(im_timeline_client.transport, "LONGEST_PAUSE_SECONDS", 0.05)
    async with connect(line.address, line.token) as client:
        items = client.items()
        await items.begin()
        breaking = Breaking(line, seed)
        talking = asyncio.create_task(breaking.talk())
        seqs: list[int] = []
        async with asyncio.timeout(SECONDS):
            while not talking.done() or len(seqs) < line.chat.head - 1:
                if breaking.drawn.random() < 0.1:
                    checkpoint = items.checkpoint()
                    await items.aclose()
                    items = client.items(checkpoint)
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.3):
                        item = await anext(items)
                        assert (item.hole, item.last) == (None, item.first)
                        seqs.append(item.first)
        await talking
    assert seqs == list(range(2, line.chat.head + 1))
