"""A live connection: records in order, and heads to exactly the right members."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Final, Literal, TypeAlias

from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Struct

from gateway.errors import ConversationNotFound
from gateway.live.head_pump import open_head
from gateway.live.live_session import LiveSession
from gateway.log.wake_ups import Wake, WakeUps
from gateway.reads.access import access_conversation
from schemas.codec import encode
from schemas.http.live_messages import LiveBegun, LiveHead, LiveRecords
from schemas.number_types import SeqId, SyncSeqId
from schemas.records import EntryPosition, FanoutMode
from schemas.visibility import periods, visible
from tests.support import virtual_time
from tests.support.gateway_store import FakeStore

Step: TypeAlias = Literal[
    "say", "join", "leave", "pull", "push", "store", "sync", "tell", "away", "back", "restart"
]

STEPS: Final = st.lists(
    st.tuples(
        st.sampled_from(
            ("say", "say", "join", "leave", "pull", "push", "store", "store", "sync", "sync",
             "tell", "tell", "away", "back", "restart")
        ),
        st.sampled_from((0.0, 0.001, 0.03, 0.3, 3.0)),
    ),
    max_size=40,
)  # fmt: skip
SETTLED_SECONDS: Final = 70.0
"""Longer than the interval in which the gateway reads memberships again."""


class World:
    """The conversation g, of which ann is a member at times, and her device at a gateway."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.store = FakeStore()
        self.log: list[EntryPosition] = []
        self.modes: list[FanoutMode] = []
        self.changes: list[tuple[SeqId, bool]] = []
        self.sync_log: list[EntryPosition] = []
        self.stored = self.synced = 0
        self.announced: tuple[int, int] = (0, 0)
        self.seen: list[int] = []
        self.heads: list[int] = []
        self.known_head = 0
        self.cursor = -1
        self._half = False
        self._append("conversation_created", "push", joined=True)
        self._connect()

    def _append(
        self, kind: str, mode: FanoutMode, *, joined: bool | None = None, named: bool = True
    ) -> None:
        seq = len(self.log) + 1
        entry = EntryPosition(kind, "g", SeqId(seq))
        self.log.append(entry)
        self.modes.append(mode)
        if joined is not None:
            self.changes.append((SeqId(seq), joined))
        if named:
            self.sync_log.append(entry)

    def do(self, step: Step) -> None:
        """Do a step: an event in the log, or progress of a sink or of the tail."""
        others: dict[Step, Callable[[], None]] = {
            "store": self._store_half,
            "sync": self._sync_next,
            "tell": self._tell,
            "away": lambda: self.wake_ups.now_live(is_live=False),
            "back": self._back,
            "restart": self._restart,
        }
        others.get(step, lambda: self._log(step))()

    def _log(self, step: Step) -> None:
        inside, mode = self.changes[-1][1], self.modes[-1]
        if step == "say":
            self._append("message_sent", mode, named=inside and mode == "push")
        elif step == "join" and not inside:
            self._append("members_added", mode, joined=True)
        elif step == "leave" and inside:
            self._append("members_removed", mode, joined=False)
        elif step in {"pull", "push"}:
            self._append("fanout_changed", "pull" if step == "pull" else "push", named=inside)

    def _sync_next(self) -> None:
        if self.synced < len(self.sync_log):
            self.synced += 1
            self.store.put_record("ann", self.synced, encode(self.sync_log[self.synced - 1]))

    def _store_half(self) -> None:
        """Write a membership or the head, as the message sink does in two steps."""
        if self.stored == len(self.log):
            return
        seq = self.stored + 1
        if not self._half:
            for at, joined in self.changes:
                if at == seq:
                    self.store.put_change("ann", "g", seq, joined=joined)
        else:
            self.store.put_conversation("g", seq, self.modes[seq - 1])
            self.stored = seq
        self._half = not self._half

    def _tell(self) -> None:
        if self.wake_ups.is_live:
            heads, records = len(self.log), len(self.sync_log)
            if self.announced != (heads, records):
                self.wake_ups.woke(
                    Wake({"ann": SyncSeqId(records)}, {"g": SeqId(heads), "other": SeqId(7)})
                )
            self.announced = (heads, records)

    def _back(self) -> None:
        """Reconnect the tail, which sends wake-ups only for records that are not stored."""
        if not self.wake_ups.is_live:
            self.announced = (self.stored, self.synced)
            self.wake_ups.now_live(is_live=True)
            self._tell()

    def _restart(self) -> None:
        """Start another gateway, whose tail sends wake-ups for records that are not stored."""
        self.connected.cancel()
        self.announced = (self.stored, self.synced)
        self._connect()
        self._tell()

    def _connect(self) -> None:
        self.wake_ups = WakeUps(self.loop.time)
        self.wake_ups.now_live(is_live=True)
        self.connected = asyncio.create_task(self._connection(self.wake_ups))

    async def _connection(self, wake_ups: WakeUps) -> None:
        with wake_ups.listening("ann") as listener:
            await LiveSession(self.store, listener, SyncSeqId(self.cursor), 3, self._take).run()

    async def _take(self, answer: Struct) -> None:
        await asyncio.sleep(0.001)
        if isinstance(answer, LiveRecords):
            self.seen += [record.sync_seq for record in answer.records]
            self.cursor = answer.next
        elif isinstance(answer, LiveHead):
            self.heads.append(answer.seq)
            self.known_head = max(self.known_head, answer.seq)
        else:
            assert isinstance(answer, LiveBegun)
            await self._list()

    async def _list(self) -> None:
        """Read the head of the conversation, as a device does first."""
        try:
            head = open_head(await access_conversation(self.store, "ann", "g"))
        except ConversationNotFound:
            return
        self.known_head = max(self.known_head, head or 0)

    async def settle(self) -> None:
        """Send all wake-ups, let the sinks reach the end, and wait."""
        self._back()
        self._tell()
        while self.stored < len(self.log) or self.synced < len(self.sync_log):
            self.do("sync")
            await asyncio.sleep(0.3)
            self.do("store")
        await asyncio.sleep(SETTLED_SECONDS)
        self.connected.cancel()


def each(*steps: Step) -> list[tuple[Step, float]]:
    """Steps with enough time between them for all other tasks."""
    return [(step, 3.0) for step in steps]


@given(STEPS)
@example(each("store", "store", "say", "tell", "sync", "sync", "store", "store", "pull"))
@example(each("store", "store", "pull", "say", "tell"))
@example(
    each(
        "store",
        "store",
        "pull",
        "sync",
        "sync",
        "store",
        "store",
        "restart",
        "away",
        "say",
        "store",
        "store",
        "back",
    )
)
@example(
    each(
        "store",
        "store",
        "leave",
        "store",
        "store",
        "join",
        "sync",
        "sync",
        "sync",
        "tell",
        "pull",
        "restart",
    )
)
@example(each("store", "store", "pull", "store", "store", "leave", "say", "say", "tell", "store"))
def test_members_receive_records_in_order_and_heads(steps: list[tuple[Step, float]]) -> None:
    """Each record arrives once, in order; heads are within ann's periods and of the pull mode.

    In the end a member's device has the head of a pulled conversation. Heads increase within a
    connection, in any order of the sinks' and the tail's work.
    """

    async def play() -> World:
        world = World()
        for step, seconds in steps:
            world.do(step)
            await asyncio.sleep(seconds)
        await world.settle()
        return world

    world = virtual_time.run(play())
    assert world.seen == list(range(1, len(world.sync_log) + 1))
    stays = periods(world.changes)
    for head in world.heads:
        assert visible(stays, SeqId(head))
        assert world.modes[head - 1] == "pull"
    if not any(step == "restart" for step, _ in steps):
        assert all(earlier < later for earlier, later in pairwise(world.heads))
    if stays[-1].last is None and world.modes[-1] == "pull":
        assert world.known_head == len(world.log)


def test_the_head_of_a_pushed_conversation_is_read_once() -> None:
    """Only messages in a pulled conversation cost reads of the membership."""

    async def play() -> tuple[int, int]:
        world = World()
        looks = 0
        before = world.store.changes

        async def counted(user: str, conv_id: str) -> list[object]:
            nonlocal looks
            looks += 1
            return await before(user, conv_id)  # type: ignore[return-value]  # passed on

        world.store.changes = counted  # type: ignore[method-assign, assignment]  # counts
        begin: tuple[Step, ...] = ("store", "store", "sync")
        for step in begin:
            world.do(step)
        counts = []
        for mode in ("push", "push", "pull"):
            if mode == "pull":
                world.do("pull")
            for _ in range(50):
                for step in ("say", "store", "store", "sync", "tell"):
                    world.do(step)
                await asyncio.sleep(1)
            counts.append(looks)
        world.connected.cancel()
        return counts[1] - counts[0], counts[2] - counts[1]

    pushed, pulled = virtual_time.run(play())
    assert pushed == 0
    assert pulled >= 50
