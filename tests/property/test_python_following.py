"""The Python client shows each SeqId once and in order, in any order of events.

The same world as in `tests.property.test_local_store`: a sequencer, sinks that lag, and a gateway
over HTTP. The follower has no store, so it continues from checkpoints.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

import pytest
from aiohttp import ClientSession
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

import im_timeline_client.gateway
from gateway.http.tokens import issue_token
from im_timeline_client import Conversation, Item
from im_timeline_client.following import Batch, Following
from im_timeline_client.gateway import Gateway
from im_timeline_client.transport import GatewayHttp
from schemas.codec import decode_entry, encode
from schemas.records import MessageEdited, MessageRecalled
from tests.support.gateway import token_settings
from tests.support.local_world import CONVERSATIONS, ME, OWNER, WorldGateway
from tests.support.world_machine import WorldMachine, conversations

ROUNDS: Final = 300
Shown = tuple[str | None, Any]


class Bench:
    """A gateway, and the client of the person at this gateway."""

    def __init__(self) -> None:
        self.world_gateway = WorldGateway()
        self.run = self.world_gateway.runner.run
        self._http = self.run(self._session())
        address, token = self.world_gateway.address, self._token
        self.gateway = Gateway(GatewayHttp(address, token, self._http))

    def close(self) -> None:
        """Stop both."""
        self.run(self._http.close())
        self.world_gateway.close()

    async def listed(self) -> list[Conversation]:
        """All conversations of the person."""
        return [each async for each in self.gateway.conversations()]

    async def _session(self) -> ClientSession:
        return ClientSession()

    def _token(self) -> str:
        return issue_token(token_settings(), ME, timedelta(minutes=1))


BENCHES: list[Bench] = []


@pytest.fixture(scope="module", autouse=True)
def bench() -> Iterator[None]:
    """One bench, used by one world after the other; the pages are small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(im_timeline_client.gateway, "SYNC_PAGE", 3)
        patch.setattr(im_timeline_client.gateway, "HISTORY_PAGE", 4)
        patch.setattr(im_timeline_client.gateway, "LIST_PAGE", 1)
        BENCHES.append(Bench())
        yield
        BENCHES.pop().close()


class FollowerMachine(WorldMachine):
    """One follower of one person, in groups that grow and shrink around the push limit."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = BENCHES[0]
        self.bench.world_gateway.serve(self.world)
        self.following = Following(ME, -1, {})
        self.waiting: list[Item] = []
        self.cursor = -1
        self.shown: dict[str, list[Item]] = defaultdict(list)

    @rule(back=st.integers(0, 5))
    def take_page(self, back: int) -> None:
        """Apply a page of the sync timeline, maybe one that was read before."""
        self._hold()
        cursor = max(-1, self.following.cursor - back)
        page = self.bench.run(self.bench.gateway.sync(cursor))
        self.waiting += self.following.apply(Batch(cursor, page.records, page.next, page.more))

    @rule(everything=st.booleans())
    def read_heads(self, everything: bool) -> None:  # noqa: FBT001 - drawn
        """Read the heads of conversations."""
        listed = self.bench.run(self.bench.listed())
        self.following.note_listed(listed, everything=everything)

    @rule(conv_id=conversations)
    def be_told_head(self, conv_id: str) -> None:
        """Receive the head of a pulled conversation, as a live connection sends it to members."""
        head = self.bench.run(self.world.my_open_head(conv_id))
        if head is not None:
            self.following.note_pushed_heads({conv_id: head})

    @rule()
    def read_gaps(self) -> None:
        """Read missing entries."""
        self._hold()
        for gap in self.following.gaps():
            self.waiting += self.following.learn(self.bench.run(self.bench.gateway.part(gap)))

    @rule(count=st.integers(1, 5))
    def take_items(self, count: int) -> None:
        """The application takes some items, which follow those before without a gap."""
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        for item in taken:
            before = self.shown[item.conv_id]
            assert item.first == (before[-1].last + 1 if before else 1)
            before.append(item)

    @rule()
    def restart(self) -> None:
        """The process ends, and the next one continues from a checkpoint."""
        checkpoint = self.following.checkpoint(self.cursor, self.waiting)
        self.following, self.waiting = Following.from_checkpoint(ME, checkpoint), []
        self.cursor = self.following.cursor

    def _hold(self) -> None:
        """Remember the cursor before the items that wait."""
        if not self.waiting:
            self.cursor = self.following.cursor

    def teardown(self) -> None:
        """Without faults, the follower shows everything within a bounded number of rounds."""
        for conv_id in CONVERSATIONS:
            self.world.say(conv_id, OWNER, [])
        self.world.store.write_all()
        last = max((each.sync_seq for each in self.world.my_records()), default=-1)
        for _ in range(ROUNDS):
            self.take_page(0)
            self.read_heads(everything=True)
            self.read_gaps()
            self.take_items(len(self.waiting))
            if self.following.cursor >= last and not self.following.gaps():
                break
        for conv_id in CONVERSATIONS:
            expected = self.expected(conv_id)
            assert by_seq(self.shown[conv_id]).keys() == expected.keys()
            assert self.untouched(conv_id) == {
                seq: item for seq, item in expected.items() if seq in self.untouched(conv_id)
            }

    @invariant()
    def nothing_is_shown_that_is_not_so(self) -> None:
        """At any time, the shown items are a prefix of the correct ones."""
        for conv_id in self.shown:
            assert self.untouched(conv_id).items() <= self.expected(conv_id).items()

    def expected(self, conv_id: str) -> dict[int, Shown]:
        """What the person may see, from the log alone."""
        return {
            seq: (hole, None if hole else decode_entry(value))
            for seq, (hole, value) in self.world.my_timeline(conv_id).items()
        }

    def untouched(self, conv_id: str) -> dict[int, Shown]:
        """The shown items without a recall or an edit, which change an item later."""
        touched = {
            seq
            for entry in self.world.log.timeline_of(conv_id)
            if isinstance(entry, MessageEdited | MessageRecalled)
            for seq in (entry.target, *getattr(entry, "edits", ()))
        }
        shown = by_seq(self.shown[conv_id])
        return {seq: item for seq, item in shown.items() if seq not in touched}


def by_seq(items: list[Item]) -> dict[int, Shown]:
    """Items in the form of `FollowerMachine.expected`."""
    return {
        seq: (item.hole, item.entry and decoded(item))
        for item in items
        for seq in range(item.first, item.last + 1)
    }


def decoded(item: Item) -> Any:
    """The entry of an item as a record of the project."""
    assert item.entry is not None
    return decode_entry(encode(item.entry.fields))


TestFollower = FollowerMachine.TestCase
TestFollower.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
