"""A device ends with the store's timeline, whatever happens on the way."""

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

import consumers.local.device
import consumers.local.gateway
from consumers.local.device import Device
from consumers.local.knowledge import SyncBatch, TimelineItem
from consumers.local.spans import LONGEST, Span, missing, next_to_read, reach
from consumers.local.store import LocalStore
from schemas.records import Entry, MessageEdited, MessageRecalled, NewDevicePolicy
from tests.support.local_world import (
    CONVERSATIONS,
    DEVICE,
    ME,
    OWNER,
    PEOPLE,
    WINDOW,
    DeviceFiles,
    Killed,
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
    """After a step in which the process died, the next process begins."""

    @wraps(step)
    def wrapped(machine: FollowingMachine, **drawn: Any) -> None:
        try:
            step(machine, **drawn)
        except Killed:
            machine.files.start_again()
            machine.start()

    return cast(StepT, wrapped)


class FollowingMachine(RuleBasedStateMachine):
    """One device of one person, while groups grow and shrink over the push limit around them.

    Records come live, by pages and again; answers of the store come late, again or not at all;
    the sinks lag, each by its own; the process of the device dies anywhere.
    """

    policy: ClassVar[NewDevicePolicy] = "full-history"

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.patches: list[Any] = [
            patch.object(consumers.local.gateway, "SYNC_PAGE", 3),
            patch.object(consumers.local.gateway, "HISTORY_PAGE", 4),
            patch.object(consumers.local.gateway, "LIST_PAGE", 1),
            patch.object(consumers.local.device, "HEADS_SECONDS", 0.0),
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
        """A process of the device begins: it knows what is in its file."""
        self.answers: list[Answer] = []
        self.device = Device(
            self.files.store, self.gateway.timelines, self.gateway.timelines, self.show_one,
            registry=self.gateway.registry,
        )  # fmt: skip

    def show_one(self, item: TimelineItem) -> None:
        """The application sees the next item; after a death perhaps the last one again.

        Which may have been edited or recalled since.
        """
        before = self.shown[item.conv_id]
        while before and before[-1].first > item.first:
            before.pop()  # its owner is in again, and what lies before is shown again
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
        """One group may be pulled from the beginning; then the device registers.

        It may be that the store knows nothing of a conversation by then, or only of its beginning.
        """
        self.world.change(CONVERSATIONS[0], people, join=True)
        for number in range(said):
            self.world.say(CONVERSATIONS[number % 2], OWNER, [])
        self.sink(listed[0], listed[1], listed[1], listed[1])
        before = self.gateway.runner.run(self.gateway.timelines.conversations())
        self.heads = {each.conv_id: each.head for each in before}
        self.files.store.begin(self.gateway.runner.run(self.gateway.registry.register(DEVICE)))

    def begin_of(self, conv_id: str) -> int:
        """The first SeqId that the device has to show, by its policy and what was there."""
        head = self.heads.get(conv_id, 0)
        window = max(1, head - WINDOW + 1)
        return {"new-messages-only": head + 1, "window": window, "full-history": 1}[self.policy]

    def expected(self, conv_id: str) -> dict[int, tuple[str | None, bytes]]:
        """What it has to show of a conversation, by SeqId."""
        begin = self.begin_of(conv_id)
        found = self.world.my_timeline(conv_id).items()
        return {seq: shown for seq, shown in found if seq >= begin}

    @rule(conv_id=conversations, sender=st.sampled_from([OWNER, *PEOPLE]), mentioned=st.booleans())
    def say(self, conv_id: str, sender: str, mentioned: bool) -> None:  # noqa: FBT001 - drawn
        """Somebody says something."""
        self.world.say(conv_id, sender, [ME] if mentioned else [])

    @rule(
        conv_id=conversations,
        people=st.lists(st.sampled_from(PEOPLE), min_size=1, max_size=5, unique=True),
        join=st.booleans(),
    )
    def change(self, conv_id: str, people: list[str], join: bool) -> None:  # noqa: FBT001 - drawn
        """People come and go, the device's owner among them; the mode follows."""
        self.world.change(conv_id, people, join=join)

    @rule(
        conv_id=conversations,
        sender=st.sampled_from([OWNER, OWNER, ME]),
        back=st.integers(0, 6),
        recall=st.booleans(),
    )
    def alter(self, conv_id: str, sender: str, back: int, recall: bool) -> None:  # noqa: FBT001 - drawn
        """Somebody edits a message, or takes it back: one near the end, if it is theirs."""
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
        """The device's owner was out, which the store knows, and is in again, which it does not.

        In a pulled group the device hears of nothing but the message that mentions them, and asks
        at once for what is between.
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
        """The sinks get on."""
        store = self.world.store
        store.write_memberships(memberships)
        store.write_entries(entries)
        store.write_heads(heads)
        store.write_sync(sync)

    @rule(back=st.integers(0, 5))
    @may_die
    def ask_for_page(self, back: int) -> None:
        """A page of the sync timeline, perhaps one that was there before."""
        cursor = max(-1, self.files.store.cursor - back)
        batch = self.gateway.runner.run(self.gateway.timelines.after(cursor))
        self.answers.append(lambda store: store.apply(batch))

    @rule(skip=st.integers(0, 4), count=st.integers(1, 3), is_next=st.booleans())
    @may_die
    def hear(self, skip: int, count: int, is_next: bool) -> None:  # noqa: FBT001 - drawn
        """Live records, from the cursor on or from anywhere later."""
        cursor = self.files.store.cursor
        ahead = [record for record in self.world.my_records() if record.sync_seq > cursor]
        heard = ahead[:count] if is_next else ahead[skip : skip + count]
        if heard:
            after = cursor if is_next else None
            batch = SyncBatch(after, heard, heard[-1].sync_seq, more=False)
            self.answers.append(lambda store: store.apply(batch))

    @rule(everything=st.booleans())
    def ask_for_heads(self, everything: bool) -> None:  # noqa: FBT001 - drawn
        """How far conversations go."""
        listed = self.gateway.runner.run(self.gateway.timelines.conversations())
        self.answers.append(lambda store: store.note_heads(listed, everything=everything))

    @rule(conv_id=conversations)
    def be_told_head(self, conv_id: str) -> None:
        """How far a pulled conversation goes, as a live connection tells it to who is there."""
        head = self.gateway.runner.run(self.world.my_open_head(conv_id))
        if head is not None:
            self.answers.append(lambda store: store.note_told({conv_id: head}))

    @rule()
    @may_die
    def ask_for_gaps(self) -> None:
        """What is missing."""
        for gap in self.files.store.gaps(5):
            part = self.gateway.runner.run(self.gateway.timelines.part(gap.conv_id, gap.span))
            self.answers.append(lambda store, part=part: store.learn(part))  # type: ignore[misc]

    @rule(place=st.integers(0, 20), again=st.booleans())
    @may_die
    def take_answer(self, place: int, again: bool) -> None:  # noqa: FBT001 - drawn
        """An answer arrives: any of those under way, perhaps not for the last time."""
        if self.answers:
            place %= len(self.answers)
            answer = self.answers[place]
            if not again:
                del self.answers[place]
            answer(self.files.store)

    @rule(count=st.integers(1, 4), last_is_remembered=st.booleans())
    @may_die
    def show(self, count: int, last_is_remembered: bool) -> None:  # noqa: FBT001 - drawn
        """The application is shown some; the process may end before it remembers the last."""
        items = self.files.store.unshown(count)
        for place, item in enumerate(items):
            self.show_one(item)
            if place == len(items) - 1 and not last_is_remembered:
                raise Killed
            self.files.store.mark_shown(item)

    @rule()
    @may_die
    def turn(self) -> None:
        """The device does its steps once."""
        self.gateway.runner.run(self.device.turn())

    @rule(steps=st.integers(0, 40))
    def die_soon(self, steps: int) -> None:
        """The process will end after so many statements, in or between transactions."""
        self.files.die_after(steps)

    @rule()
    @may_die
    def crash(self) -> None:
        """The process ends now."""
        raise Killed

    def teardown(self) -> None:
        """Everything works again: the device gets everything within a few rounds.

        So it does when it has come to rest, and something is said that may not be pushed to it.
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
        """The device's owner says something, on another device."""
        self.world.say(conv_id, ME, [])

    def read(self, conv_id: str) -> None:
        """They read all there is, on another device."""
        self.world.mark(conv_id, len(self.world.log.timeline_of(conv_id)))

    def settle(self) -> None:
        """The sinks reach the end, and the device comes to rest."""
        self.world.store.write_all()
        for _ in range(ROUNDS):
            try:
                if not self.gateway.runner.run(self.device.turn()):
                    return
            except Killed:
                self.crash()
        raise AssertionError("it does not come to rest")

    def check(self) -> None:
        """Kept and shown is what the log has for its owner, every SeqId once."""
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
        """Those that no recall or edit is of: what was shown of the others may have changed."""
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
        """At any time, what was shown is a beginning of what is so."""
        for conv_id, items in self.shown.items():
            expected = self.expected(conv_id)
            seen = by_seq(items)
            begin = self.begin_of(conv_id)
            assert list(seen) == list(range(begin, begin + len(seen)))
            assert self.untouched(conv_id, items).items() <= expected.items()

    @invariant()
    def the_cursor_means_all_up_to_here(self) -> None:
        """At any time, what the cursor has passed is kept, or lies before a join and is missed."""
        cursor = self.files.cursor()
        passed = {
            (arrived.record.conv_id, arrived.record.seq)
            for arrived in self.world.my_records()
            if arrived.sync_seq <= cursor
            and isinstance(arrived.record, Entry)
            and arrived.record.seq >= self.begin_of(arrived.record.conv_id)
        }
        missed = {
            (conv_id, seq) for conv_id, seq in passed - self.files.kept()
            if seq >= self.world.my_last_join(conv_id)
        }  # fmt: skip
        assert not missed


GATEWAYS: dict[NewDevicePolicy, WorldGateway] = {}


@pytest.fixture(scope="module", autouse=True)
def gateways() -> Iterator[None]:
    """One gateway of each policy for all worlds, one after the other."""
    for policy in get_args(NewDevicePolicy):
        GATEWAYS[policy] = WorldGateway(policy)
    yield
    for gateway in GATEWAYS.values():
        gateway.close()


class WindowMachine(FollowingMachine):
    """A device that begins with the last of each conversation."""

    policy = "window"


class NewMessagesMachine(FollowingMachine):
    """A device that begins with nothing."""

    policy = "new-messages-only"


def tried(machine: type[FollowingMachine], examples: int) -> Any:
    """A test of a machine."""
    machine.TestCase.settings = settings(
        max_examples=examples, stateful_step_count=50, deadline=None
    )
    return machine.TestCase


TestFollowing = tried(FollowingMachine, 60)
TestFollowingFromAWindow = tried(WindowMachine, 30)
TestFollowingNewMessages = tried(NewMessagesMachine, 30)

known_seqs = st.sets(st.integers(1, 60))


def spans_of(seqs: set[int]) -> list[Span]:
    """Ascending spans without overlaps that hold just these; neighbours may stay apart."""
    return [Span(seq, seq) for seq in sorted(seqs)]


@given(known_seqs, st.integers(0, 60))
def test_reach_ends_before_the_first_gap(known: set[int], through: int) -> None:
    """All up to there is known, and what follows is not."""
    end = reach(through, spans_of({seq for seq in known if seq > through}))
    assert set(range(through + 1, end + 1)) <= known
    assert end + 1 not in known or end + 1 <= through


@given(known_seqs, st.integers(1, 60), st.integers(0, 60))
def test_missing_is_what_is_not_known(known: set[int], first: int, length: int) -> None:
    """Neither more nor less, in order."""
    asked = Span(first, first + length)
    found = [
        seq for part in missing(asked, spans_of(known)) for seq in range(part[0], part[1] + 1)
    ]
    assert found == [seq for seq in range(asked.first, asked.last + 1) if seq not in known]


@given(st.sets(st.integers(1, 2_000), max_size=60), st.integers(1, 2_000))
def test_what_is_read_next_begins_and_ends_with_a_gap(known: set[int], head: int) -> None:
    """It begins with the first SeqId that is missing, ends with one, and has a bound."""
    known = {seq for seq in known if seq <= head}
    gaps = [seq for seq in range(1, head + 1) if seq not in known]
    span = next_to_read(Span(1, head), spans_of(known))
    if not gaps:
        assert span is None
        return
    assert span is not None
    assert span.first == gaps[0]
    assert span.last in gaps
    islands = {seq for seq in known if seq < span.last and seq > span.first}
    assert not islands or len(islands) <= LONGEST
