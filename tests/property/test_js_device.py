"""The device of the JavaScript client ends with the store's timeline, in any order of events.

The same world as in `tests.property.test_local_store`, with the same steps. The device runs in
Node, and `clients/js/test/machine.js` does one step at a time.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import wraps
from typing import Any, ClassVar, TypeVar, cast, get_args

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from consumers.device.knowledge import Arrived
from gateway.http.tokens import issue_token
from schemas.records import Entry, MessageEdited, MessageRecalled, NewDevicePolicy
from tests.support.gateway import token_settings
from tests.support.local_world import (
    CONVERSATIONS,
    DEVICE,
    ME,
    OWNER,
    PEOPLE,
    WINDOW,
    World,
    WorldGateway,
)
from tests.support.node import CLIENT, Killed, NodeProcess

ROUNDS = 300
conversations = st.sampled_from(CONVERSATIONS)
some = st.integers(0, 8)
StepT = TypeVar("StepT", bound=Callable[..., None])
Shown = tuple[str | None, Any]


class Bench:
    """A gateway of one policy, and a Node process whose device uses the gateway."""

    def __init__(self, policy: NewDevicePolicy) -> None:
        self.gateway = WorldGateway(policy)
        self.node = self.gateway.runner.run(NodeProcess.start(CLIENT / "test" / "machine.js"))

    def ask(self, step: str, **given: Any) -> Any:
        """Lets the device do one step, while the gateway serves."""
        return self.gateway.runner.run(self.node.ask(step, **given))

    def close(self) -> None:
        """Stops both."""
        self.gateway.runner.run(self.node.stop())
        self.gateway.close()


BENCHES: dict[NewDevicePolicy, Bench] = {}


@pytest.fixture(scope="module", autouse=True)
def benches() -> Iterator[None]:
    """One bench of each policy, used by one world after the other."""
    for policy in get_args(NewDevicePolicy):
        BENCHES[policy] = Bench(policy)
    yield
    for bench in BENCHES.values():
        bench.close()


def may_die(step: StepT) -> StepT:
    """Start the next process after a step in which the process ended."""

    @wraps(step)
    def wrapped(machine: FollowingMachine, **drawn: Any) -> None:
        try:
            step(machine, **drawn)
        except Killed:
            machine.bench.ask("kill")

    return cast(StepT, wrapped)


class FollowingMachine(RuleBasedStateMachine):
    """One device of one person, in groups that grow and shrink around the push limit."""

    policy: ClassVar[NewDevicePolicy] = "full-history"

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.bench = BENCHES[self.policy]
        self.bench.gateway.serve(self.world)
        self.heads: dict[str, int] = {}
        self.shown: dict[str, list[dict[str, Any]]] = defaultdict(list)

    @initialize(
        people=st.lists(st.sampled_from(PEOPLE), min_size=2, unique=True),
        said=st.integers(0, 6),
        listed=st.sampled_from([(0, 0), (1, 0), (2, 2), (50, 50), (50, 50)]),
    )
    def begin(self, people: list[str], said: int, listed: tuple[int, int]) -> None:
        """Change a group, which may be pulled then, and register the device."""
        self.world.change(CONVERSATIONS[0], people, join=True)
        for number in range(said):
            self.world.say(CONVERSATIONS[number % 2], OWNER, [])
        self.sink(listed[0], listed[1], listed[1], listed[1])
        gateway = self.bench.gateway
        before = gateway.runner.run(gateway.timelines.conversations())
        self.heads = {each.conv_id: each.head for each in before}
        token = issue_token(token_settings(), ME, timedelta(minutes=30))
        self.bench.ask(
            "begin", address=gateway.address, token=token, user=ME, device=DEVICE,
            conversations=CONVERSATIONS,
        )  # fmt: skip

    def begin_of(self, conv_id: str) -> int:
        """The first SeqId that the device shows, by its policy and the head at registration."""
        head = self.heads.get(conv_id, 0)
        window = max(1, head - WINDOW + 1)
        return {"new-messages-only": head + 1, "window": window, "full-history": 1}[self.policy]

    def expected(self, conv_id: str) -> dict[int, Shown]:
        """The items of a conversation that the device has to show, by SeqId."""
        begin = self.begin_of(conv_id)
        return {
            seq: (hole, None if hole else json.loads(value))
            for seq, (hole, value) in self.world.my_timeline(conv_id).items()
            if seq >= begin
        }

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
        """The owner was removed, which the store has, and joined again, which the store lacks."""
        self.world.change(conv_id, [ME], join=False)
        self.settle()
        self.world.change(conv_id, [ME], join=True)
        for _ in range(quietly):
            self.world.say(conv_id, OWNER, [])
        self.world.say(conv_id, OWNER, [ME])
        cursor = self.look()["cursor"]
        heard = [each for each in self.world.my_records() if each.sync_seq > cursor]
        self.bench.ask("apply", batch=batch_of(heard, cursor))
        self.bench.ask("askGaps")

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
        self.bench.ask("askPage", back=back)

    @rule(skip=st.integers(0, 4), count=st.integers(1, 3), is_next=st.booleans())
    @may_die
    def hear(self, skip: int, count: int, is_next: bool) -> None:  # noqa: FBT001 - drawn
        """Receive live records, from the cursor on or from any later position."""
        cursor = self.look()["cursor"]
        ahead = [record for record in self.world.my_records() if record.sync_seq > cursor]
        heard = ahead[:count] if is_next else ahead[skip : skip + count]
        if heard:
            self.bench.ask("hear", batch=batch_of(heard, cursor if is_next else None))

    @rule(everything=st.booleans())
    def ask_for_heads(self, everything: bool) -> None:  # noqa: FBT001 - drawn
        """Request the heads of conversations."""
        self.bench.ask("askHeads", everything=everything)

    @rule(conv_id=conversations)
    def be_told_head(self, conv_id: str) -> None:
        """Receive the head of a pulled conversation, as a live connection sends it to members."""
        head = self.bench.gateway.runner.run(self.world.my_open_head(conv_id))
        if head is not None:
            self.bench.ask("told", conv=conv_id, head=head)

    @rule()
    @may_die
    def ask_for_gaps(self) -> None:
        """Request missing entries."""
        self.bench.ask("askGaps")

    @rule(place=st.integers(0, 20), again=st.booleans())
    @may_die
    def take_answer(self, place: int, again: bool) -> None:  # noqa: FBT001 - drawn
        """Apply an answer in flight, which may be applied again later."""
        self.bench.ask("takeAnswer", place=place, again=again)

    @rule(count=st.integers(1, 4), is_remembered=st.booleans())
    @may_die
    def show(self, count: int, is_remembered: bool) -> None:  # noqa: FBT001 - drawn
        """Show some items; the process may end before it stores that they were shown."""
        self.bench.ask("show", count=count, isRemembered=is_remembered)
        if not is_remembered:
            raise Killed

    @rule()
    @may_die
    def turn(self) -> None:
        """Run one turn of the device."""
        self.bench.ask("turn")

    @rule(writes=st.integers(0, 6))
    def die_soon(self, writes: int) -> None:
        """Let the process end before a write."""
        self.bench.ask("dieAfter", writes=writes)

    @rule()
    def crash(self) -> None:
        """End the process now."""
        self.bench.ask("kill")

    def look(self) -> Any:
        """The state of the device. Newly shown items are compared with the earlier ones.

        After a crash, items may be shown again; a repeated item may have been edited or recalled.
        After the owner joined again, items from before the join are shown again.
        """
        state = self.bench.ask("state")
        for item in state["shown"]:
            before = self.shown[item["convId"]]
            while before and before[-1]["first"] >= item["first"]:
                before.pop()
            begin = before[-1]["last"] + 1 if before else self.begin_of(item["convId"])
            assert item["first"] == begin
            before.append(item)
        return state

    def teardown(self) -> None:
        """Without faults, the device gets everything within a bounded number of turns.

        This is repeated after the device is idle, with messages that may not be pushed to it.
        """
        self.settle()
        for conv_id, is_marked in zip(CONVERSATIONS, (False, True), strict=True):
            self.world.say(conv_id, OWNER, [])
            if is_marked:
                self.world.mark(conv_id, len(self.world.log.timeline_of(conv_id)))
            else:
                self.world.say(conv_id, ME, [])
            self.world.say(conv_id, OWNER, [])
        self.settle()
        self.check()

    def settle(self) -> None:
        """Let the sinks reach the end, and run the device until it is idle."""
        self.world.store.write_all()
        for _ in range(ROUNDS):
            try:
                if not self.bench.ask("turn"):
                    return
            except Killed:
                self.bench.ask("kill")
        raise AssertionError("it does not come to rest")

    def check(self) -> None:
        """The stored and the shown items equal the owner's timeline, each SeqId once."""
        state = self.look()
        gateway = self.bench.gateway
        for conv_id in CONVERSATIONS:
            expected = self.expected(conv_id)
            kept = state["kept"].get(conv_id, [])
            assert by_seq(kept) == expected
            untouched = self.untouched(conv_id, by_seq(kept))
            assert self.untouched(conv_id, by_seq(self.shown[conv_id])) == untouched
            assert sum(item["last"] - item["first"] + 1 for item in kept) == len(expected)
            assert state["readings"][conv_id]["unread"] == self.world.my_unread(conv_id)
        for listed in gateway.runner.run(gateway.timelines.conversations()):
            reading = {"unread": listed.unread, "mark": listed.read}
            assert state["readings"][listed.conv_id] == reading

    def untouched(self, conv_id: str, items: dict[int, Shown]) -> dict[int, Shown]:
        """Items without a recall or edit; a shown item with one may have changed."""
        touched = {
            seq
            for entry in self.world.log.timeline_of(conv_id)
            if isinstance(entry, MessageEdited | MessageRecalled)
            for seq in (entry.target, *getattr(entry, "edits", ()))
        }
        return {seq: item for seq, item in items.items() if seq not in touched}

    @invariant()
    def nothing_is_shown_that_is_not_so(self) -> None:
        """At any time, the shown items are a prefix of the correct ones; the cursor means all."""
        state = self.look()
        for conv_id, items in self.shown.items():
            seen = self.untouched(conv_id, by_seq(items))
            assert seen.items() <= self.expected(conv_id).items()
        kept = {(conv_id, seq) for conv_id, seq in state["seqs"]}
        passed = {
            (arrived.record.conv_id, arrived.record.seq)
            for arrived in self.world.my_records()
            if arrived.sync_seq <= state["cursor"]
            and isinstance(arrived.record, Entry)
            and arrived.record.seq >= self.begin_of(arrived.record.conv_id)
        }
        assert all(seq < self.world.my_last_join(conv_id) for conv_id, seq in passed - kept)


def batch_of(heard: list[Arrived], after: int | None) -> dict[str, Any]:
    """Records in the form of the Node process."""
    records = [json.loads(each.json) for each in heard]
    return {"after": after, "records": records, "next": heard[-1].sync_seq}


def by_seq(items: list[dict[str, Any]]) -> dict[int, Shown]:
    """Items in the form of `FollowingMachine.expected`."""
    return {
        seq: (item["hole"], item["entry"])
        for item in items
        for seq in range(item["first"], item["last"] + 1)
    }


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


TestFollowing = tried(FollowingMachine, 25)
TestFollowingFromAWindow = tried(WindowMachine, 12)
TestFollowingNewMessages = tried(NewMessagesMachine, 12)
