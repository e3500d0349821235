"""Read marks on real servers: from one device of a person to the others, and to the counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from pydantic import SecretStr

from consumers.device.device import Device
from consumers.device.gateway_timeline import GatewayTimelines
from consumers.device.kafka_timeline import FollowerTimeline
from consumers.device.local_store import LocalStore
from devstack.ports import free_ports
from gateway.http.tokens import issue_token
from producers.publisher import Publisher
from producers.receipts import Receipt, ReceiptState
from schemas.codec import decode_entry
from schemas.errors import CommandRejected
from schemas.ids import uuid7
from schemas.records import MUTED_WITHOUT_END, ConversationMuted, MuteConversation, ReadMarked
from schemas.settings import Settings
from schemas.topics import Topic
from tests.support.gateway import SECRET
from tests.support.pipeline import assert_verified, im, prepare, sinks
from tests.support.processes import running
from tests.support.servers import Servers
from tests.support.topics import read_all, sync_timelines
from tests.support.unread import walked
from tests.support.waiting import until

pytestmark = pytest.mark.servers

PATIENCE: Final = 180.0
LATER: Final = 4_000_000_000_000
"""The end of a mute, in milliseconds since 1970."""

CONV: Final = "群 c"
CROWD: Final = ["c", "d", "陈"]
"""With ann and bob, one member more than the push limit."""


@pytest.fixture(scope="module")
def settings(servers: Servers) -> Iterator[Settings]:
    """A deployment with low limits, running."""
    settings = servers.settings(
        partitions=2, sync_partitions=2, push_limit=4, push_again_below=4,
        jwt_secret=SecretStr(SECRET), gateway_port=free_ports(1)[0],
    )  # fmt: skip
    prepare(settings)
    with running(settings, "stream_processors"), sinks(settings), running(settings, "gateway"):
        yield settings


class Person:
    """A person at one device, which sends and holds a copy.

    Args:
        store: The device's copy.
        publisher: Sends the device's commands.
    """

    def __init__(self, store: LocalStore, publisher: Publisher) -> None:
        self.store = store
        self.publisher = publisher

    async def sees(self, unread: int, mark: int) -> None:
        """Waits until the device has this unread count and this mark."""

        async def does() -> bool:
            return (self.store.unread(CONV), self.store.read_mark(CONV)) == (unread, mark)

        await until(does, PATIENCE)

    async def is_muted(self, until_ms: int) -> None:
        """Waits until the device has this end of the mute."""

        async def is_so() -> bool:
            return self.store.muted_until(CONV) == until_ms

        await until(is_so, PATIENCE)

    async def mutes(self, until_ms: int) -> Receipt:
        """Mutes the conversation; waits for the outcome."""
        receipt = self.publisher.mute(CONV, until_ms)
        await asyncio.to_thread(receipt.wait_sequenced, PATIENCE)
        return receipt

    async def marks(self, seq: int) -> Receipt:
        """Marks as read up to an entry; waits for the outcome."""
        receipt = self.publisher.mark_read(CONV, seq)
        await asyncio.to_thread(receipt.wait_sequenced, PATIENCE)
        return receipt

    async def says(self, count: int) -> None:
        """Sends messages, one after the other."""
        receipts = [self.publisher.send(CONV, f"{number} 你好") for number in range(count)]
        for receipt in receipts:
            await asyncio.to_thread(receipt.wait_sequenced, PATIENCE)


@asynccontextmanager
async def at(
    settings: Settings, user: str, device_id: str, folder: Path, *, live: bool
) -> AsyncIterator[Person]:
    """A person at a device that follows the log itself, or the gateway."""
    address = f"http://{settings.gateway_host}:{settings.gateway_port}"
    path = folder / f"{user}-{device_id}"
    store = LocalStore(path.with_suffix(".db"), user, device_id)
    publisher = Publisher(settings, user, device_id, path.with_suffix(".outbox"))
    log = FollowerTimeline(settings, user, store, device_id)
    stop = asyncio.Event()
    async with aiohttp.ClientSession() as http:
        timelines = GatewayTimelines(
            address, lambda: issue_token(settings, user, timedelta(minutes=1)), http
        )
        source = log if live else timelines
        device = Device(store, source, timelines, lambda _: None, publisher.observe)
        task = asyncio.create_task(device.run(stop))
        try:
            yield Person(store, publisher)
        finally:
            stop.set()
            await task
            log.close()
            await asyncio.to_thread(publisher.close)
            store.close()


class MarksOfBob:
    """A conversation of ann and bob, in which bob marks entries as read on two devices.

    Each method is a step of the test. The comments are the SeqIds of the entries.
    """

    def __init__(self, ann: Person, phone: Person, desk: Person) -> None:
        self._ann, self._phone, self._desk = ann, phone, desk

    async def _both(self, unread: int, mark: int) -> None:
        await both((self._phone, self._desk), unread, mark)

    async def mark_in_push_mode(self) -> None:
        """A mark moves the counts of both devices; an old one is a duplicate."""
        self._ann.publisher.create_conversation(CONV, ["bob"])  # 1
        await self._ann.says(3)  # 2 to 4
        await self._both(3, 1)
        assert (await self._phone.marks(3)).state is ReceiptState.SEQUENCED
        await self._both(1, 3)
        old = await self._desk.marks(2)
        assert (old.state, old.seq) == (ReceiptState.DUPLICATE, 3)
        with pytest.raises(CommandRejected, match="invalid"):
            await self._desk.marks(99)

    async def mark_by_sending(self) -> None:
        """An own message marks everything before it."""
        await self._desk.says(1)  # 5
        await self._both(0, 5)
        await self._ann.says(2)  # 6, 7
        await self._both(2, 5)

    async def mark_in_pull_mode(self) -> None:
        """The same in a conversation that has become large."""
        self._ann.publisher.add_members(CONV, CROWD)  # 8; 9 is the switch to pull
        await self._ann.says(3)  # 10 to 12
        await self._both(5, 5)
        await self._desk.marks(11)
        await self._both(1, 11)

    async def mute_on_both_devices(self) -> None:
        """A mute reaches both devices; the last one counts, and a copy has no effect."""
        first = MuteConversation(
            conv_id=CONV, sender="bob", device_id="tablet", client_msg_id=uuid7(1_000, 0),
            until=MUTED_WITHOUT_END,
        )  # fmt: skip
        self._phone.publisher.publish(first)
        await self._both_muted(MUTED_WITHOUT_END)
        assert (await self._desk.mutes(LATER)).state is ReceiptState.SEQUENCED
        await self._both_muted(LATER)
        copy = self._ann.publisher.publish(first)
        await asyncio.to_thread(copy.wait_accepted, PATIENCE)
        await self._ann.says(1)  # 19: the copy was decided before it
        await self._both(2, 17)
        await self._both_muted(LATER)

    async def _both_muted(self, until_ms: int) -> None:
        for device in (self._phone, self._desk):
            await device.is_muted(until_ms)

    async def leave_and_rejoin(self) -> None:
        """A former member has no unread messages and no marks; a join begins with none."""
        self._ann.publisher.remove_members(CONV, ["bob"])  # 13
        self._ann.publisher.add_members(CONV, ["f"])  # 14
        await self._ann.says(2)  # 15, 16
        await self._both(0, 13)
        with pytest.raises(CommandRejected, match="not_a_member"):
            await self._phone.marks(12)
        self._ann.publisher.add_members(CONV, ["bob"])  # 17
        await self._ann.says(1)  # 18
        await self._both(1, 17)


async def test_a_mark_reaches_all_devices_of_its_reader_and_nobody_else(
    settings: Settings, tmp_path: Path
) -> None:
    """A read mark reaches all devices of its reader and nobody else.

    This holds in push and pull mode, with own messages, and over a leave and a rejoin, on two
    devices of bob. At the end the counts of bob's devices, of the gateway, and of a plain walk
    over the log are the same for everybody, and `im verify` finds no difference.
    """
    async with (
        at(settings, "ann", "d", tmp_path, live=True) as ann,
        at(settings, "bob", "phone", tmp_path, live=True) as phone,
        at(settings, "bob", "desk", tmp_path, live=False) as desk,
    ):
        marks = MarksOfBob(ann, phone, desk)
        await marks.mark_in_push_mode()
        await marks.mark_by_sending()
        await marks.mark_in_pull_mode()
        await marks.leave_and_rejoin()
        await marks.mute_on_both_devices()
        await asyncio.to_thread(assert_verified, settings)
        await until(lambda: asyncio.to_thread(are_as_walked, settings), PATIENCE)
    (shown,) = im(settings, "conversations", "bob")
    assert shown["mute"]["until"] == LATER
    receivers = {
        (user, record.sender)
        for user, timeline in sync_timelines(settings).items()
        for record in timeline
        if isinstance(record, ReadMarked | ConversationMuted)
    }
    assert receivers == {("bob", "bob")}


async def both(devices: tuple[Person, Person], unread: int, mark: int) -> None:
    """Waits until both devices have the same counts."""
    for device in devices:
        await device.sees(unread, mark)


def are_as_walked(settings: Settings) -> bool:
    """Whether `im conversations` shows the same counts as a walk over the log, for everybody."""
    log = [decode_entry(record.value()) for record in read_all(settings, Topic.TIMELINE)]
    synced = sync_timelines(settings)
    shown_counts = {user: unread_of(settings, user) for user in ("ann", "bob", "f", *CROWD)}
    assert sum(shown_counts.values()) > len(shown_counts)
    return shown_counts == {user: walked(log, synced.get(user, []), user) for user in shown_counts}


def unread_of(settings: Settings, user: str) -> int:
    """The unread count in the output of the command."""
    (shown,) = im(settings, "conversations", user)
    found: dict[str, Any] = shown
    assert found["conv_id"] == CONV
    return int(found["unread"])
