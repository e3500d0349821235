"""Waiting for a sync timeline: no record is missed, repeated or out of order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Final, Literal, TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import TokenExpired
from gateway.live.long_poll import await_page
from gateway.log.recent_places import MAX_SINK_LAG_SECONDS
from gateway.log.wake_ups import Wake, WakeUps
from gateway.reads.sync_page import SyncRead, read_sync
from schemas.http.answers import SyncPage
from schemas.number_types import SyncSeqId
from tests.support import virtual_time
from tests.support.gateway_store import FakeStore, message

Step: TypeAlias = Literal[
    "append", "store", "entry", "tell", "restart", "log away", "log back", "wait"
]

STEPS: Final[st.SearchStrategy[list[tuple[Step, float]]]] = st.lists(
    st.tuples(
        st.sampled_from(
            (
                "append",
                "store",
                "entry",
                "tell",
                "restart",
                "log away",
                "log back",
                "append",
                "wait",
            )
        ),
        st.sampled_from((0.0, 0.0, 0.001, 0.03, 0.5, 2.0, 40.0)),
    ),
    max_size=40,
)
SLOWEST_READ: Final = 31.0
SLOWEST_RETRY: Final = 1.1
RETRIES: Final = 6
"""Reads of one request before its retries are a second apart."""
AWAY: Final = 0.4
"""Between two requests of the device, without a listener."""
PAGE: Final = 3
"""Records in a page."""

READ: Final = 0.002
WAIT: Final = 30
DAY: Final = 86_400.0
"""The lifetime of tokens, unless a test has another one."""


class World:
    """A log, a store that sinks fill, one gateway, and a device that follows."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.store = FakeStore()
        self.wake_ups = self._gateway()
        self.log: list[int] = []
        self.stored = self.entries = self.announced = 0
        self.stored_at: dict[int, float] = {}
        self.announced_at: dict[int, float] = {}
        self.seen: list[tuple[int, float]] = []
        self.reads = 0

    def do(self, step: Step) -> None:
        """Do a step: an event in the log, a sink, the tail or the gateway."""
        do: dict[Step, Callable[[], None]] = {
            "append": lambda: self.log.append(3 * len(self.log) + 1),
            "store": self._store_next,
            "entry": self._store_entry,
            "tell": self.tell,
            "restart": self._restart,
            "log away": lambda: self.wake_ups.now_live(is_live=False),
            "log back": lambda: self.wake_ups.now_live(is_live=True),
        }
        if step != "wait":
            do[step]()

    def tell(self) -> None:
        """Send the wake-ups that were not sent, before or after the records are stored."""
        fresh, self.announced = self.log[self.announced :], len(self.log)
        if fresh and self.wake_ups.is_live:
            self.wake_ups.woke(Wake({"ann": SyncSeqId(fresh[-1]), "bob": SyncSeqId(9_999)}, {}))
            self.announced_at |= dict.fromkeys(fresh, self.loop.time())

    def _store_next(self) -> None:
        if self.stored < len(self.log):
            self.stored += 1
            self.store.put_reference("ann", self.log[self.stored - 1], "c", self.stored)
            self._note_stored(self.stored)

    def _store_entry(self) -> None:
        """Store the next entry; the message sink may be ahead of the sync sink or behind it."""
        if self.entries < len(self.log):
            self.entries += 1
            self.store.put_message(message("c", self.entries))
            self.store.put_conversation("c", self.entries)
            self._note_stored(self.entries)

    def _note_stored(self, seq: int) -> None:
        if seq <= min(self.stored, self.entries):
            self.stored_at[self.log[seq - 1]] = self.loop.time()

    def _restart(self) -> None:
        """Start another gateway, which never sends the wake-ups that were not sent."""
        self.wake_ups.close()
        self.wake_ups = self._gateway()
        self.announced = len(self.log)
        self.announced_at.clear()  # a new gateway has no memory of earlier wake-ups

    def _gateway(self) -> WakeUps:
        wake_ups = WakeUps(self.loop.time)
        wake_ups.now_live(is_live=True)
        return wake_ups

    def promised(self, sync_seq: int) -> float:
        """The latest time at which the device must have an announced record."""
        stored = self.stored_at[sync_seq]
        announced = self.announced_at.get(sync_seq, float("inf"))
        pages = 1 + self.log.index(sync_seq) // PAGE
        return (
            max(announced, stored) + SLOWEST_RETRY + pages * AWAY
            if stored - announced < MAX_SINK_LAG_SECONDS / 2
            else stored + SLOWEST_READ
        )

    async def follow(self) -> None:
        """A device that sends requests repeatedly from its cursor on."""
        cursor = -1
        while True:
            with self.wake_ups.listening("ann") as listener:
                page = await await_page(
                    listener, partial(self.read, cursor), SyncSeqId(cursor), WAIT, DAY
                )
            self.seen += [(record.sync_seq, self.loop.time()) for record in page.records]
            cursor = page.next
            await asyncio.sleep(AWAY)

    async def read(self, after: int) -> SyncRead:
        """Read a page of the store."""
        self.reads += 1
        page = await read_sync(self.store, "ann", SyncSeqId(after), PAGE)
        await asyncio.sleep(READ)  # events happen while the answer is in flight
        return page


@given(STEPS)
def test_no_record_is_missed_repeated_or_out_of_order(steps: list[tuple[Step, float]]) -> None:
    """The device gets exactly the log, in order, and at the latest with a read without wake-up."""

    async def play() -> None:
        world = World()
        following = asyncio.create_task(world.follow())
        for step, seconds in steps:
            world.do(step)
            await asyncio.sleep(seconds)
        while min(world.stored, world.entries) < len(world.log):
            world.do("store")
            world.do("entry")
        await asyncio.sleep(SLOWEST_READ)
        following.cancel()
        assert [sync_seq for sync_seq, _ in world.seen] == world.log
        for sync_seq, at in world.seen:
            assert at - world.stored_at[sync_seq] <= SLOWEST_READ
            assert at <= world.promised(sync_seq)

    virtual_time.run(play())


def test_an_idle_device_sends_few_requests() -> None:
    """An hour of waiting with nothing to read costs only some reads a minute.

    With a record that is announced and never stored, there is one read a second while the
    announcement is recent. Without the log, or with a reference whose entry is never stored, there
    is one read a second, too.
    """

    async def reads(*steps: Step) -> int:
        world = World()
        for step in steps:
            world.do(step)
        following = asyncio.create_task(world.follow())
        await asyncio.sleep(3_600)
        following.cancel()
        return world.reads

    assert virtual_time.run(reads()) <= 60 * 14
    assert virtual_time.run(reads("append", "tell")) <= 60 * 14 + 60
    assert virtual_time.run(reads("log away")) <= 3_600 + 120
    assert virtual_time.run(reads("append", "store")) <= 3_600 + 120 * RETRIES


def test_a_wait_ends_at_its_timeout_and_with_the_gateway() -> None:
    """A wait ends at its timeout, and soon after the gateway's stop."""

    async def play() -> None:
        world = World()
        with world.wake_ups.listening("ann") as listener:
            page = await await_page(listener, lambda: world.read(-1), SyncSeqId(-1), 7, DAY)
            assert (page.records, page.next) == ([], -1)
            assert 7 <= world.loop.time() < 8
            ending = asyncio.create_task(
                await_page(listener, lambda: world.read(-1), SyncSeqId(-1), 30, DAY)
            )
            await asyncio.sleep(3.5)  # the next read is at 7 s
            world.wake_ups.close()
            await ending
            assert world.loop.time() < 11

    virtual_time.run(play())


@given(
    seconds=st.integers(1, 30),
    lasts=st.floats(-1, 40),
    announced=st.booleans(),
    stored=st.one_of(st.none(), st.floats(0, 40)),
)
def test_nothing_is_read_with_an_expired_token(
    *, seconds: int, lasts: float, announced: bool, stored: float | None
) -> None:
    """After the token's end only a read that began before may end, with any wake-ups and records.

    A wait is answered by records, by an empty page at its timeout, or by a 401 at the token's end.
    """

    async def play() -> None:
        world = World()
        world.do("append")
        if announced:
            world.tell()
        if stored is not None:
            world.loop.call_later(stored, world.do, "store")
            world.do("entry")
        begun: list[float] = []

        async def read() -> SyncRead:
            begun.append(world.loop.time())
            return await world.read(-1)

        page: SyncPage | None = None
        with (
            world.wake_ups.listening("ann") as listener,
            contextlib.suppress(TokenExpired),
        ):
            page = await await_page(listener, read, SyncSeqId(-1), seconds, lasts)
        assert all(at < max(lasts, READ) for at in begun)
        assert world.loop.time() < max(min(seconds, lasts), 0) + 2 * READ
        if page is None:
            assert world.loop.time() >= lasts
        elif not page.records:
            assert world.loop.time() >= seconds

    virtual_time.run(play())
