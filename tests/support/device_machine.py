"""The events around one device, in any order, as a Hypothesis state machine.

A subclass has the device, and the steps that only its device knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ClassVar, TypeVar, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from consumers.device.knowledge import Arrived
from schemas.number_types import SyncSeqId
from schemas.records import Entry, MessageEdited, MessageRecalled, NewDevicePolicy
from tests.support.killing import Killed
from tests.support.local_world import (
    CONVERSATIONS,
    ME,
    OWNER,
    PEOPLE,
    WINDOW,
    WorldGateway,
)
from tests.support.world_machine import WorldMachine, conversations

ROUNDS = 300
"""Turns after which a device without faults has to be idle."""

ItemT = TypeVar("ItemT")
StepT = TypeVar("StepT", bound=Callable[..., None])


def may_die(step: StepT) -> StepT:
    """Start the next process after a step in which the process ended."""

    @wraps(step)
    def wrapped(machine: DeviceMachine, **drawn: Any) -> None:
        try:
            step(machine, **drawn)
        except Killed:
            machine.start_next_process()

    return cast(StepT, wrapped)


class DeviceMachine(WorldMachine):
    """One device of one person, in groups that grow and shrink around the push limit.

    Records arrive live, in pages and repeatedly. Answers of the store arrive late, repeatedly or
    never. Each sink has its own lag. The process of the device ends at any step.
    """

    policy: ClassVar[NewDevicePolicy] = "full-history"

    def __init__(self, gateway: WorldGateway) -> None:
        super().__init__()
        self.gateway = gateway
        self.gateway.serve(self.world)
        self.heads: dict[str, int] = {}
        self.begins: dict[str, int] = {}
        """The first SeqIds of a device that had registered before the log was restored."""

    def register(self) -> None:
        """Register the device."""
        raise NotImplementedError

    def start_next_process(self) -> None:
        """Start a process of the device, which has only what the last process stored."""
        raise NotImplementedError

    def run_turn(self) -> bool:
        """Run one turn of the device; return whether there is more to do."""
        raise NotImplementedError

    def cursor(self) -> int:
        """Return the cursor of the device."""
        raise NotImplementedError

    def apply(self, batch: list[Arrived], after: int) -> None:
        """Let the device apply records at once."""
        raise NotImplementedError

    def receive(self, batch: list[Arrived], after: int | None) -> None:
        """Let records arrive, which the device applies later."""
        raise NotImplementedError

    def receive_head(self, conv_id: str, head: int) -> None:
        """Let the head of a pulled conversation arrive."""
        raise NotImplementedError

    def request_gaps(self) -> None:
        """Let the device request missing entries."""
        raise NotImplementedError

    def check(self) -> None:
        """Compare the stored and the shown items with the owner's timeline."""
        raise NotImplementedError

    def close(self) -> None:
        """Release what the machine holds."""

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
        self.register()

    def begin_of(self, conv_id: str) -> int:
        """Return the first SeqId to show, by the policy and the head at registration."""
        head = self.heads.get(conv_id, 0)
        window = max(1, head - WINDOW + 1)
        begins = {"new-messages-only": head + 1, "window": window, "full-history": 1}
        return min(begins[self.policy], self.begins.get(conv_id, begins[self.policy]))

    def earlier_cursor(self, back: int) -> SyncSeqId:
        """Return the cursor of the device, or one that it had some records ago."""
        cursor = self.cursor()
        passed = [each.sync_seq for each in self.world.my_records() if each.sync_seq < cursor]
        return SyncSeqId([-1, *passed, cursor][max(0, len(passed) + 1 - back)])

    def expected(self, conv_id: str) -> dict[int, tuple[str | None, bytes]]:
        """Return the items of a conversation that the device has to show, by SeqId."""
        begin = self.begin_of(conv_id)
        items = self.world.my_timeline(conv_id).items()
        return {seq: item for seq, item in items if seq >= begin}

    def untouched(self, conv_id: str, items: Mapping[int, ItemT]) -> dict[int, ItemT]:
        """Return the items without a recall or edit; a shown item with one may have changed."""
        touched = {
            seq
            for entry in self.world.log.timeline_of(conv_id)
            if isinstance(entry, MessageEdited | MessageRecalled)
            for seq in (entry.target, *getattr(entry, "edits", ()))
        }
        return {seq: item for seq, item in items.items() if seq not in touched}

    def missed(self, cursor: int, stored: set[tuple[str, int]]) -> set[tuple[str, int]]:
        """Return the entries up to the cursor that are not stored, except before the last join."""
        passed = {
            (arrived.record.conv_id, arrived.record.seq)
            for arrived in self.world.my_records()
            if arrived.sync_seq <= cursor
            and isinstance(arrived.record, Entry)
            and arrived.record.seq >= self.begin_of(arrived.record.conv_id)
        }
        return {
            (conv_id, seq) for conv_id, seq in passed - stored
            if seq >= self.world.my_last_join(conv_id)
        }  # fmt: skip

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
        cursor = self.cursor()
        self.apply([each for each in self.world.my_records() if each.sync_seq > cursor], cursor)
        self.request_gaps()

    @rule(lost=st.integers(1, 12), later=st.integers(0, 3))
    def lose(self, lost: int, later: int) -> None:
        """An operator restores an earlier log, and the device comes back, maybe after messages.

        The cursor of the device is of a lost record: a device that has applied no lost record in
        its order does not notice the loss.
        """
        self.settle()
        try:
            cursor = SyncSeqId(self.cursor())
        except Killed:
            self.start_next_process()
            cursor = SyncSeqId(self.cursor())
        begins = {conv_id: self.begin_of(conv_id) for conv_id in CONVERSATIONS}
        if not self.world.would_lose(lost, cursor):
            return
        self.world.restore(lost)
        self.gateway.serve(self.world)
        for _ in range(later):
            self.world.say(CONVERSATIONS[0], OWNER, [ME])
        self.world.store.write_all()
        assert self.world.log.is_ahead(cursor)
        listed = self.gateway.runner.run(self.gateway.timelines.conversations())
        self.heads = {each.conv_id: each.head for each in listed}
        self.begins = begins
        self.settle()
        self.check()

    @rule(skip=st.integers(0, 4), count=st.integers(1, 3), is_next=st.booleans())
    @may_die
    def hear(self, skip: int, count: int, is_next: bool) -> None:  # noqa: FBT001 - drawn
        """Receive live records, from the cursor on or from any later position."""
        cursor = self.cursor()
        ahead = [record for record in self.world.my_records() if record.sync_seq > cursor]
        heard = ahead[:count] if is_next else ahead[skip : skip + count]
        if heard:
            self.receive(heard, cursor if is_next else None)

    @rule(conv_id=conversations)
    def hear_head(self, conv_id: str) -> None:
        """Receive the head of a pulled conversation, as a live connection sends it to members."""
        head = self.gateway.runner.run(self.world.my_open_head(conv_id))
        if head is not None:
            self.receive_head(conv_id, head)

    @rule()
    @may_die
    def ask_for_gaps(self) -> None:
        """Request missing entries."""
        self.request_gaps()

    @rule()
    @may_die
    def turn(self) -> None:
        """Run one turn of the device."""
        self.run_turn()

    @rule()
    def crash(self) -> None:
        """End the process now."""
        self.start_next_process()

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
            self.close()

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
                if not self.run_turn():
                    return
            except Killed:
                self.start_next_process()
        raise AssertionError("it does not come to rest")


def tried(machine: type[DeviceMachine], policy: NewDevicePolicy, examples: int) -> Any:
    """Return the test of a machine whose device has this policy."""
    of_policy: Any = type(machine.__name__, (machine,), {"policy": policy})
    of_policy.TestCase.settings = settings(
        max_examples=examples, stateful_step_count=50, deadline=None
    )
    return of_policy.TestCase
