"""The device of the JavaScript client ends with the store's timeline, in any order of events.

The same world as in `tests.property.test_local_store`, with the same steps. The device runs in
Node, and `clients/js/test/machine.js` does one step at a time.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, get_args

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from consumers.device.knowledge import Arrived
from gateway.http.tokens import issue_token
from schemas.records import NewDevicePolicy
from tests.support.device_machine import DeviceMachine, may_die, tried
from tests.support.gateway import token_settings
from tests.support.killing import Killed
from tests.support.local_world import CONVERSATIONS, DEVICE, ME, WorldGateway
from tests.support.node import CLIENT, NodeProcess

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


class NodeMachine(DeviceMachine):
    """A device of the JavaScript client."""

    def __init__(self) -> None:
        self.bench = BENCHES[self.policy]
        super().__init__(self.bench.gateway)
        self.shown: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def register(self) -> None:
        """The device registers itself when it connects."""
        token = issue_token(token_settings(), ME, timedelta(minutes=30))
        self.bench.ask(
            "begin", address=self.gateway.address, token=token, user=ME, device=DEVICE,
            conversations=CONVERSATIONS,
        )  # fmt: skip

    def start_next_process(self) -> None:
        """The storage has only the completed writes."""
        self.bench.ask("kill")

    def run_turn(self) -> bool:
        """One turn of the device."""
        return bool(self.bench.ask("turn"))

    def cursor(self) -> int:
        """The cursor in the storage."""
        return int(self.look()["cursor"])

    def apply(self, batch: list[Arrived], after: int) -> None:
        """The device applies the records now."""
        self.bench.ask("apply", batch=batch_of(batch, after))

    def receive(self, batch: list[Arrived], after: int | None) -> None:
        """A later step applies the records."""
        self.bench.ask("hear", batch=batch_of(batch, after))

    def receive_head(self, conv_id: str, head: int) -> None:
        """A later step notes the head."""
        self.bench.ask("hearHead", conv=conv_id, head=head)

    def request_gaps(self) -> None:
        """Later steps take the answers."""
        self.bench.ask("askGaps")

    @rule(back=st.integers(0, 5))
    @may_die
    def ask_for_page(self, back: int) -> None:
        """Request a page of the sync timeline, maybe one that was read before."""
        self.bench.ask("askPage", after=self.earlier_cursor(back))

    @rule(everything=st.booleans())
    def ask_for_heads(self, everything: bool) -> None:  # noqa: FBT001 - drawn
        """Request the heads of conversations."""
        self.bench.ask("askHeads", everything=everything)

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

    @rule(writes=st.integers(0, 6))
    def die_soon(self, writes: int) -> None:
        """Let the process end before a write."""
        self.bench.ask("dieAfter", writes=writes)

    def look(self) -> Any:
        """The state of the device. Newly shown items are compared with the earlier ones.

        After a crash, items may be shown again; a repeated item may have been edited or recalled.
        After the owner joined again, items from before the join are shown again.
        """
        state = self.bench.ask("state")
        if state["restarted"]:
            self.shown.clear()
        for item in state["shown"]:
            before = self.shown[item["convId"]]
            while before and before[-1]["first"] >= item["first"]:
                before.pop()
            begin = before[-1]["last"] + 1 if before else self.begin_of(item["convId"])
            assert item["first"] == begin
            before.append(item)
        return state

    def check(self) -> None:
        """The stored and the shown items equal the owner's timeline, each SeqId once."""
        state = self.look()
        for conv_id in CONVERSATIONS:
            expected = parsed(self.expected(conv_id))
            stored = state["stored"].get(conv_id, [])
            assert by_seq(stored) == expected
            untouched = self.untouched(conv_id, by_seq(stored))
            assert self.untouched(conv_id, by_seq(self.shown[conv_id])) == untouched
            assert sum(item["last"] - item["first"] + 1 for item in stored) == len(expected)
            assert state["readings"][conv_id]["unread"] == self.world.my_unread(conv_id)
            assert state["readings"][conv_id]["muted"] == self.world.my_mute(conv_id)
        for listed in self.gateway.runner.run(self.gateway.timelines.conversations()):
            muted = self.world.my_mute(listed.conv_id)
            reading = {"unread": listed.unread, "mark": listed.read, "muted": muted}
            assert state["readings"][listed.conv_id] == reading

    @invariant()
    def nothing_is_shown_that_is_not_so(self) -> None:
        """At any time, the shown items are a prefix of the correct ones; the cursor means all."""
        state = self.look()
        for conv_id, items in self.shown.items():
            seen = self.untouched(conv_id, by_seq(items))
            assert seen.items() <= parsed(self.expected(conv_id)).items()
        stored = {(conv_id, seq) for conv_id, seq in state["seqs"]}
        assert not self.missed(state["cursor"], stored)


def parsed(items: dict[int, tuple[str | None, bytes]]) -> dict[int, Shown]:
    """Items with their entries as JSON values; a hole has no entry."""
    return {
        seq: (hole, None if hole else json.loads(value)) for seq, (hole, value) in items.items()
    }


def batch_of(heard: list[Arrived], after: int | None) -> dict[str, Any]:
    """Records in the form of the Node process."""
    records = [json.loads(each.json) for each in heard]
    places = [each.sync_seq for each in heard]
    return {"after": after, "records": records, "places": places, "next": places[-1]}


def by_seq(items: list[dict[str, Any]]) -> dict[int, Shown]:
    """Items in the form of `parsed`."""
    return {
        seq: (item["hole"], item["entry"])
        for item in items
        for seq in range(item["first"], item["last"] + 1)
    }


TestFollowing = tried(NodeMachine, "full-history", 25)
TestFollowingFromAWindow = tried(NodeMachine, "window", 12)
TestFollowingNewMessages = tried(NodeMachine, "new-messages-only", 12)
