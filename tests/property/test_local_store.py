"""A device ends with the store's timeline, in any order of events."""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

import consumers.device.device
import consumers.device.gateway_timeline
from consumers.device.device import Device
from consumers.device.knowledge import Arrived, SyncBatch, TimelineItem
from consumers.device.local_store import LocalStore
from consumers.device.spans import LONGEST, Span, missing, next_to_read, reach
from schemas.number_types import SeqId, SyncSeqId
from schemas.records import NewDevicePolicy
from tests.support.device_files import DeviceFiles
from tests.support.device_machine import DeviceMachine, may_die, tried
from tests.support.killing import Killed
from tests.support.local_world import CONVERSATIONS, DEVICE, WorldGateway, by_seq

Answer = Callable[[LocalStore], object]
GATEWAYS: dict[NewDevicePolicy, WorldGateway] = {}


@pytest.fixture(scope="module", autouse=True)
def gateways() -> Iterator[None]:
    """One gateway of each policy, used by one world after the other."""
    for policy in get_args(NewDevicePolicy):
        GATEWAYS[policy] = WorldGateway(policy)
    yield
    for gateway in GATEWAYS.values():
        gateway.close()


class FollowingMachine(DeviceMachine):
    """A device of `consumers.device`, on a file that survives the processes."""

    def __init__(self) -> None:
        super().__init__(GATEWAYS[self.policy])
        self.folder = Path(tempfile.mkdtemp())
        self.patches: list[Any] = [
            patch.object(consumers.device.gateway_timeline, "SYNC_PAGE", 3),
            patch.object(consumers.device.gateway_timeline, "HISTORY_PAGE", 4),
            patch.object(consumers.device.gateway_timeline, "LIST_PAGE", 1),
            patch.object(consumers.device.device, "HEADS_AGE_SECONDS", 0.0),
        ]
        for each in self.patches:
            each.start()
        self.files = DeviceFiles(self.folder)
        self.shown: dict[str, list[TimelineItem]] = defaultdict(list)
        self.start()

    def start(self) -> None:
        """Start a process of the device, which has only the contents of its file."""
        self.answers: list[Answer] = []
        self.device = Device(
            self.files.store, self.gateway.timelines, self.gateway.timelines, self.show_one,
            registry=self.gateway.registry, restart=self.forget,
        )  # fmt: skip

    def start_next_process(self) -> None:
        """The files have the state in which the last process left them."""
        self.files.start_again()
        self.start()

    def register(self) -> None:
        """The gateway answers at once."""
        self.files.store.begin(self.gateway.runner.run(self.gateway.registry.register(DEVICE)))

    def run_turn(self) -> bool:
        """See `Device.step`."""
        return self.gateway.runner.run(self.device.step())

    def cursor(self) -> int:
        """The cursor in the local store."""
        return self.files.store.cursor

    def apply(self, batch: list[Arrived], after: int) -> None:
        """See `LocalStore.apply`."""
        self.files.store.apply(batch_of(batch, after))

    def receive(self, batch: list[Arrived], after: int | None) -> None:
        """A later step applies the records."""
        arrived = batch_of(batch, after)
        self.answers.append(lambda store: store.apply(arrived))

    def receive_head(self, conv_id: str, head: int) -> None:
        """A later step notes the head."""
        self.answers.append(lambda store: store.note_pushed_heads({conv_id: SeqId(head)}))

    def request_gaps(self) -> None:
        """Later steps take the answers."""
        for gap in self.files.store.gaps(5):
            part = self.gateway.runner.run(self.gateway.timelines.part(gap.conv_id, gap.span))
            self.answers.append(lambda store, part=part: store.learn(part))  # type: ignore[misc]

    def close(self) -> None:
        """End the patches, and remove the files."""
        for each in self.patches:
            each.stop()
        self.files.store.close()
        shutil.rmtree(self.folder)

    def forget(self) -> None:
        """The device shows everything again."""
        self.shown.clear()
        self.answers.clear()  # the gateway was stopped, so no answer is in flight

    def show_one(self, item: TimelineItem) -> None:
        """Show the application the next item, or after a crash maybe the last item again.

        The repeated item may have been edited or recalled.
        """
        before = self.shown[item.conv_id]
        while before and before[-1].first > item.first:
            # the owner joined again, and the entries from before the join are shown again
            before.pop()
        if before and item.span == before[-1].span:
            assert item == before[-1] or not self.untouched(item.conv_id, by_seq([item]))
            before[-1] = item
            return
        assert item.first == (before[-1].last + 1 if before else self.begin_of(item.conv_id))
        before.append(item)

    @rule(back=st.integers(0, 5))
    @may_die
    def ask_for_page(self, back: int) -> None:
        """Request a page of the sync timeline, maybe one that was read before."""
        cursor = self.earlier_cursor(back)
        batch = self.gateway.runner.run(self.gateway.timelines.after(cursor))
        self.answers.append(lambda store: store.apply(batch))

    @rule(everything=st.booleans())
    def ask_for_heads(self, everything: bool) -> None:  # noqa: FBT001 - drawn
        """Request the heads of conversations."""
        listed = self.gateway.runner.run(self.gateway.timelines.conversations())
        self.answers.append(lambda store: store.note_heads(listed, everything=everything))

    @rule(place=st.integers(0, 20), again=st.booleans())
    @may_die
    def take_answer(self, place: int, again: bool) -> None:  # noqa: FBT001 - drawn
        """Apply an answer in flight, which may be applied again later."""
        if self.answers:
            place %= len(self.answers)
            answer = self.answers[place]
            if not again:
                del self.answers[place]
            answer(self.files.store)

    @rule(count=st.integers(1, 4), last_is_remembered=st.booleans())
    @may_die
    def show(self, count: int, last_is_remembered: bool) -> None:  # noqa: FBT001 - drawn
        """Show some items; the process may end before it stores that the last one was shown."""
        items = self.files.store.unshown(count)
        for place, item in enumerate(items):
            self.show_one(item)
            if place == len(items) - 1 and not last_is_remembered:
                raise Killed
            self.files.store.mark_shown(item)

    @rule(steps=st.integers(0, 40))
    def die_soon(self, steps: int) -> None:
        """Let the process end after this number of statements, in or between transactions."""
        self.files.die_after(steps)

    def check(self) -> None:
        """The stored and the shown items equal the owner's timeline, each SeqId once."""
        for conv_id in CONVERSATIONS:
            expected = self.expected(conv_id)
            kept = self.files.store.timeline(conv_id, most=1_000)
            assert by_seq(kept) == expected
            untouched = self.untouched(conv_id, by_seq(kept))
            assert self.untouched(conv_id, by_seq(self.shown[conv_id])) == untouched
            assert sum(item.last - item.first + 1 for item in kept) == len(expected)
            assert self.files.store.unread(conv_id) == self.world.my_unread(conv_id)
            assert self.files.store.muted_until(conv_id) == self.world.my_mute(conv_id)
        for listed in self.gateway.runner.run(self.gateway.timelines.conversations()):
            reading = (
                self.files.store.unread(listed.conv_id),
                self.files.store.read_mark(listed.conv_id),
            )
            assert reading == (listed.unread, listed.read)

    @invariant()
    def nothing_is_shown_that_is_not_so(self) -> None:
        """At any time, the shown items are a prefix of the correct ones."""
        for conv_id, items in self.shown.items():
            expected = self.expected(conv_id)
            seen = by_seq(items)
            begin = self.begin_of(conv_id)
            assert list(seen) == list(range(begin, begin + len(seen)))
            assert self.untouched(conv_id, seen).items() <= expected.items()

    @invariant()
    def the_cursor_means_all_up_to_here(self) -> None:
        """At any time, each record up to the cursor is stored, or a gap before the last join."""
        assert not self.missed(self.files.cursor(), self.files.stored())


def batch_of(heard: list[Arrived], after: int | None) -> SyncBatch:
    """Records as a page of the sync timeline, or as live records without a known beginning."""
    start = None if after is None else SyncSeqId(after)
    return SyncBatch(start, heard, heard[-1].sync_seq, more=False)


TestFollowing = tried(FollowingMachine, "full-history", 60)
TestFollowingFromAWindow = tried(FollowingMachine, "window", 30)
TestFollowingNewMessages = tried(FollowingMachine, "new-messages-only", 30)

known_seqs = st.sets(st.integers(1, 60))


def spans_of(seqs: set[int]) -> list[Span]:
    """Ascending spans without overlaps of exactly these SeqIds; neighbours may be separate."""
    return [Span(SeqId(seq), SeqId(seq)) for seq in sorted(seqs)]


@given(known_seqs, st.integers(0, 60))
def test_the_contiguous_range_ends_before_the_first_gap(known: set[int], through: int) -> None:
    """All SeqIds up to the result are known, and the next one is not."""
    end = reach(SeqId(through), spans_of({seq for seq in known if seq > through}))
    assert set(range(through + 1, end + 1)) <= known
    assert end + 1 not in known or end + 1 <= through


@given(known_seqs, st.integers(1, 60), st.integers(0, 60))
def test_the_missing_seqids_are_those_without_entry_or_hole(
    known: set[int], first: int, length: int
) -> None:
    """The result has exactly the unknown SeqIds, in order."""
    asked = Span(SeqId(first), SeqId(first + length))
    found = [
        seq for part in missing(asked, spans_of(known)) for seq in range(part[0], part[1] + 1)
    ]
    assert found == [seq for seq in range(asked.first, asked.last + 1) if seq not in known]


@given(st.sets(st.integers(1, 2_000), max_size=60), st.integers(1, 2_000))
def test_the_next_range_to_read_begins_and_ends_with_a_gap(known: set[int], head: int) -> None:
    """The range starts with the first gap and ends with a gap, and has a bound."""
    known = {seq for seq in known if seq <= head}
    gaps = [seq for seq in range(1, head + 1) if seq not in known]
    span = next_to_read(Span(SeqId(1), SeqId(head)), spans_of(known))
    if not gaps:
        assert span is None
        return
    assert span is not None
    assert span.first == gaps[0]
    assert span.last in gaps
    islands = {seq for seq in known if seq < span.last and seq > span.first}
    assert not islands or len(islands) <= LONGEST
