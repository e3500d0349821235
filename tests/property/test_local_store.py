"""A device ends with the store's timeline, in any order of events."""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast, get_args
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import consumers.device.device
import consumers.device.gateway_timeline
from consumers.device.device import Device
from consumers.device.knowledge import SyncBatch, TimelineItem
from consumers.device.local_store import LocalStore
from consumers.device.spans import LONGEST, Span, missing, next_to_read, reach
from schemas.number_types import SeqId, SyncSeqId
from schemas.records import Entry, MessageEdited, MessageRecalled, NewDevicePolicy
from tests.support.device_files import DeviceFiles, Killed
from tests.support.local_world import (
    CONVERSATIONS,
    DEVICE,
    ME,
    OWNER,
    PEOPLE,
    WINDOW,
    World,
    WorldGateway,
    by_seq,
)

ROUNDS = 300
conversations = st.sampled_from(CONVERSATIONS)
some = st.integers(0, 8)
Answer = Callable[[LocalStore], object]
StepT = TypeVar("StepT", bound=Callable[..., None])


def may_die(step: StepT) -> StepT:
    """Start the next process after a step in which the process ended."""

    @wraps(step)
    def wrapped(machine: FollowingMachine, **drawn: Any) -> None:
        try:
            step(machine, **drawn)
        except Killed:
            machine.files.start_again()
            machine.start()

    return cast(StepT, wrapped)


class FollowingMachine(RuleBasedStateMachine):
    """One device of one person, in groups that grow and shrink around the push limit.

    Records arrive live, in pages and repeatedly. Answers of the store arrive late, repeatedly or
    never. Each sink has its own lag. The process of the device ends at any step.
    """

    policy: ClassVar[NewDevicePolicy] = "full-history"

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.patches: list[Any] = [
            patch.object(consumers.device.gateway_timeline, "SYNC_PAGE", 3),
            patch.object(consumers.device.gateway_timeline, "HISTORY_PAGE", 4),
            patch.object(consumers.device.gateway_timeline, "LIST_PAGE", 1),
            patch.object(consumers.device.device, "HEADS_AGE_SECONDS", 0.0),
        ]
        for each in self.patches:
            each.start()
        self.world = World()
        self.gateway = GATEWAYS[self.policy]
        self.gateway.serve(self.world)
        self.heads: dict[str, int] = {}
        self.files = DeviceFiles(self.folder)
        self.shown: dict[str, list[TimelineItem]] = defaultdict(list)
        self.start()

    def start(self) -> None:
        """Start a process of the device, which has only the contents of its file."""
        self.answers: list[Answer] = []
        self.device = Device(
            self.files.store, self.gateway.timelines, self.gateway.timelines, self.show_one,
            registry=self.gateway.registry,
        )  # fmt: skip

    def show_one(self, item: TimelineItem) -> None:
        """Show the application the next item, or after a crash maybe the last item again.

        The repeated item may have been edited or recalled.
        """
        before = self.shown[item.conv_id]
        while before and before[-1].first > item.first:
            # the owner joined again, and the entries from before the join are shown again
            before.pop()
        if before and item.span == before[-1].span:
            assert item == before[-1] or not self.untouched(item.conv_id, [item])
            before[-1] = item
            return
        assert item.first == (before[-1].last + 1 if before else self.begin_of(item.conv_id))
        before.append(item)

    @initialize(
        people=st.lists(st.sampled_from(PEOPLE), min_size=2, unique=True),
        said=st.integers(0, 6),
        listed=st.sampled_from([(0, 0), (1, 0), (2, 2), (50, 50), (50, 50)]),
    )
    def begin(self, people: list[str], said: int, listed: tuple[int, int]) -> None:
        """Change a group, which may be pulled then, and register the device.

        The store may have nothing of a conversation at that time, or only its beginning.
        """
        self.world.change(CONVERSATIONS[0], people, join=True)
        for number in range(said):
            self.world.say(CONVERSATIONS[number % 2], OWNER, [])
        self.sink(listed[0], listed[1], listed[1], listed[1])
        before = self.gateway.runner.run(self.gateway.timelines.conversations())
        self.heads = {each.conv_id: each.head for each in before}
        self.files.store.begin(self.gateway.runner.run(self.gateway.registry.register(DEVICE)))

    def begin_of(self, conv_id: str) -> int:
        """The first SeqId that the device shows, by its policy and the head at registration."""
        head = self.heads.get(conv_id, 0)
        window = max(1, head - WINDOW + 1)
        return {"new-messages-only": head + 1, "window": window, "full-history": 1}[self.policy]

    def expected(self, conv_id: str) -> dict[int, tuple[str | None, bytes]]:
        """The items of a conversation that the device has to show, by SeqId."""
        begin = self.begin_of(conv_id)
        found = self.world.my_timeline(conv_id).items()
        return {seq: shown for seq, shown in found if seq >= begin}

    @rule(conv_id=conversations, sender=st.sampled_from([OWNER, *PEOPLE]), mentioned=st.booleans())
    def say(self, conv_id: str, sender: str, mentioned: bool) -> None:  # noqa: FBT001 - drawn
        """A person sends a message."""
        self.world.say(conv_id, sender, [ME] if mentioned else [])

    @rule(
        conv_id=conversations,
        people=st.lists(st.sampled_from(PEOPLE), min_size=1, max_size=5, unique=True),
        join=st.booleans(),
    )
    def change(self, conv_id: str, people: list[str], join: bool) -> None:  # noqa: FBT001 - drawn
        """People join or leave, maybe with the device's owner; the mode follows."""
        self.world.change(conv_id, people, join=join)

    @rule(
        conv_id=conversations,
        sender=st.sampled_from([OWNER, OWNER, ME]),
        back=st.integers(0, 6),
        recall=st.booleans(),
    )
    def alter(self, conv_id: str, sender: str, back: int, recall: bool) -> None:  # noqa: FBT001 - drawn
        """A person edits or recalls a message near the end, if they have the right."""
        seq = len(self.world.log.timeline_of(conv_id)) - back
        alter = self.world.recall if recall else self.world.edit
        alter(conv_id, sender, seq)

    @rule(conv_id=conversations, back=st.integers(0, 5))
    def read_elsewhere(self, conv_id: str, back: int) -> None:
        """The device's owner reads on another device, up to near the end."""
        self.world.mark(conv_id, len(self.world.log.timeline_of(conv_id)) - back)

    @rule(conv_id=conversations, quietly=st.integers(0, 2))
    @may_die
    def come_back(self, conv_id: str, quietly: int) -> None:
        """The owner was removed, which the store has, and joined again, which the store lacks.

        In a pulled group the device receives only the message that mentions the owner, and
        requests the gap at once.
        """
        self.world.change(conv_id, [ME], join=False)
        self.settle()
        self.world.change(conv_id, [ME], join=True)
        for _ in range(quietly):
            self.world.say(conv_id, OWNER, [])
        self.world.say(conv_id, OWNER, [ME])
        store = self.files.store
        heard = [each for each in self.world.my_records() if each.sync_seq > store.cursor]
        store.apply(SyncBatch(store.cursor, heard, heard[-1].sync_seq, more=False))
        self.ask_for_gaps()

    @rule(memberships=some, entries=some, heads=some, sync=some)
    def sink(self, memberships: int, entries: int, heads: int, sync: int) -> None:
        """Each sink writes some records."""
        store = self.world.store
        store.write_memberships(memberships)
        store.write_entries(entries)
        store.write_heads(heads)
        store.write_sync(sync)

    @rule(back=st.integers(0, 5))
    @may_die
    def ask_for_page(self, back: int) -> None:
        """Request a page of the sync timeline, maybe one that was read before."""
        cursor = max(-1, self.files.store.cursor - back)
        batch = self.gateway.runner.run(self.gateway.timelines.after(SyncSeqId(cursor)))
        self.answers.append(lambda store: store.apply(batch))

    @rule(skip=st.integers(0, 4), count=st.integers(1, 3), is_next=st.booleans())
    @may_die
    def hear(self, skip: int, count: int, is_next: bool) -> None:  # noqa: FBT001 - drawn
        """Receive live records, from the cursor on or from any later position."""
        cursor = self.files.store.cursor
        ahead = [record for record in self.world.my_records() if record.sync_seq > cursor]
        heard = ahead[:count] if is_next else ahead[skip : skip + count]
        if heard:
            after = cursor if is_next else None
            batch = SyncBatch(after, heard, heard[-1].sync_seq, more=False)
            self.answers.append(lambda store: store.apply(batch))

    @rule(everything=st.booleans())
    def ask_for_heads(self, everything: bool) -> None:  # noqa: FBT001 - drawn
        """Request the heads of conversations."""
        listed = self.gateway.runner.run(self.gateway.timelines.conversations())
        self.answers.append(lambda store: store.note_heads(listed, everything=everything))

    @rule(conv_id=conversations)
    def be_told_head(self, conv_id: str) -> None:
        """Receive the head of a pulled conversation, as a live connection sends it to members."""
        head = self.gateway.runner.run(self.world.my_open_head(conv_id))
        if head is not None:
            self.answers.append(lambda store: store.note_pushed_heads({conv_id: SeqId(head)}))

    @rule()
    @may_die
    def ask_for_gaps(self) -> None:
        """Request missing entries."""
        for gap in self.files.store.gaps(5):
            part = self.gateway.runner.run(self.gateway.timelines.part(gap.conv_id, gap.span))
            self.answers.append(lambda store, part=part: store.learn(part))  # type: ignore[misc]

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

    @rule()
    @may_die
    def turn(self) -> None:
        """Run one turn of the device."""
        self.gateway.runner.run(self.device.step())

    @rule(steps=st.integers(0, 40))
    def die_soon(self, steps: int) -> None:
        """Let the process end after this number of statements, in or between transactions."""
        self.files.die_after(steps)

    @rule()
    @may_die
    def crash(self) -> None:
        """End the process now."""
        raise Killed

    def teardown(self) -> None:
        """Without faults, the device gets everything within a bounded number of turns.

        This is repeated after the device is idle, with messages that may not be pushed to it.
        """
        try:
            self.settle()
            for conv_id, last in zip(CONVERSATIONS, (self.speak, self.read), strict=True):
                self.world.say(conv_id, OWNER, [])
                last(conv_id)
                self.world.say(conv_id, OWNER, [])
            self.settle()
            self.check()
        finally:
            for each in self.patches:
                each.stop()
            self.files.store.close()
            shutil.rmtree(self.folder)

    def speak(self, conv_id: str) -> None:
        """The device's owner sends a message on another device."""
        self.world.say(conv_id, ME, [])

    def read(self, conv_id: str) -> None:
        """The device's owner reads everything on another device."""
        self.world.mark(conv_id, len(self.world.log.timeline_of(conv_id)))

    def settle(self) -> None:
        """Let the sinks reach the end, and run the device until it is idle."""
        self.world.store.write_all()
        for _ in range(ROUNDS):
            try:
                if not self.gateway.runner.run(self.device.step()):
                    return
            except Killed:
                self.crash()
        raise AssertionError("it does not come to rest")

    def check(self) -> None:
        """The stored and the shown items equal the owner's timeline, each SeqId once."""
        for conv_id in CONVERSATIONS:
            expected = self.expected(conv_id)
            kept = self.files.store.timeline(conv_id, most=1_000)
            assert by_seq(kept) == expected
            assert self.untouched(conv_id, self.shown[conv_id]) == self.untouched(conv_id, kept)
            assert sum(item.last - item.first + 1 for item in kept) == len(expected)
            assert self.files.store.unread(conv_id) == self.world.my_unread(conv_id)
        for listed in self.gateway.runner.run(self.gateway.timelines.conversations()):
            reading = (
                self.files.store.unread(listed.conv_id),
                self.files.store.read_mark(listed.conv_id),
            )
            assert reading == (listed.unread, listed.read)

    def untouched(
        self, conv_id: str, items: list[TimelineItem]
    ) -> dict[int, tuple[str | None, bytes]]:
        """Items without a recall or edit; a shown item with one may have changed."""
        timeline = self.world.log.timeline_of(conv_id)
        touched = {
            seq
            for entry in timeline
            if isinstance(entry, MessageEdited | MessageRecalled)
            for seq in (entry.target, *getattr(entry, "edits", ()))
        }
        return {seq: item for seq, item in by_seq(items).items() if seq not in touched}

    @invariant()
    def nothing_is_shown_that_is_not_so(self) -> None:
        """At any time, the shown items are a prefix of the correct ones."""
        for conv_id, items in self.shown.items():
            expected = self.expected(conv_id)
            seen = by_seq(items)
            begin = self.begin_of(conv_id)
            assert list(seen) == list(range(begin, begin + len(seen)))
            assert self.untouched(conv_id, items).items() <= expected.items()

    @invariant()
    def the_cursor_means_all_up_to_here(self) -> None:
        """At any time, each record up to the cursor is stored, or a gap before the last join."""
        cursor = self.files.cursor()
        passed = {
            (arrived.record.conv_id, arrived.record.seq)
            for arrived in self.world.my_records()
            if arrived.sync_seq <= cursor
            and isinstance(arrived.record, Entry)
            and arrived.record.seq >= self.begin_of(arrived.record.conv_id)
        }
        missed = {
            (conv_id, seq) for conv_id, seq in passed - self.files.stored()
            if seq >= self.world.my_last_join(conv_id)
        }  # fmt: skip
        assert not missed


GATEWAYS: dict[NewDevicePolicy, WorldGateway] = {}


@pytest.fixture(scope="module", autouse=True)
def gateways() -> Iterator[None]:
    """One gateway of each policy, used by one world after the other."""
    for policy in get_args(NewDevicePolicy):
        GATEWAYS[policy] = WorldGateway(policy)
    yield
    for gateway in GATEWAYS.values():
        gateway.close()


class WindowMachine(FollowingMachine):
    """A device that starts with the last entries of each conversation."""

    policy = "window"


class NewMessagesMachine(FollowingMachine):
    """A device that starts without history."""

    policy = "new-messages-only"


def tried(machine: type[FollowingMachine], examples: int) -> Any:
    """Return the test of a machine."""
    machine.TestCase.settings = settings(
        max_examples=examples, stateful_step_count=50, deadline=None
    )
    return machine.TestCase


TestFollowing = tried(FollowingMachine, 60)
TestFollowingFromAWindow = tried(WindowMachine, 30)
TestFollowingNewMessages = tried(NewMessagesMachine, 30)

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
