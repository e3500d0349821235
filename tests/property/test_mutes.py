"""Mutes: the last accepted one counts, after any sequence of commands, copies and crashes."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.reads.conversation_list import list_conversations
from schemas.http.queries import ConversationsQuery
from schemas.ids import uuid7
from schemas.limits import MAX_TIME_MS
from schemas.number_types import Milliseconds
from schemas.records import (
    MUTED_WITHOUT_END,
    AddMembers,
    ConversationMuted,
    Duplicate,
    MuteConversation,
    Rejected,
    RemoveMembers,
    Reply,
)
from tests.support.commands import USERS
from tests.support.group_steps import GROUP, Step, steps_of_group
from tests.support.local_world import LaggingStore
from tests.support.sequencing import Commit, Crash, Log, run

mutes = st.builds(
    MuteConversation,
    conv_id=st.just("c1"),
    sender=st.sampled_from(["ann", "bob", "陈"]),
    device_id=st.sampled_from(["phone", "desk"]),
    client_msg_id=st.integers(0, 40).map(lambda number: uuid7(2_000 + number, 0)),
    until=st.sampled_from([0, 1, 7_000_000, MUTED_WITHOUT_END]),
)
step_lists = steps_of_group(mutes, mutes)


def mute(
    number: int, until: int = MUTED_WITHOUT_END, sender: str = "bob", conv_id: str = "c1"
) -> MuteConversation:
    """A mute by a person; the number determines its id."""
    return MuteConversation(
        conv_id=conv_id, sender=sender, device_id="d", client_msg_id=uuid7(9, number),
        until=Milliseconds(until),
    )  # fmt: skip


def outcomes(log: Log, user: str) -> list[tuple[str, object]]:
    """The replies to a person, each with its most telling field."""
    return [
        (type(r).__name__, r.until if isinstance(r, ConversationMuted) else
         r.code if isinstance(r, Rejected) else r.seq)
        for r in log.sync_of(user) if isinstance(r, ConversationMuted | Rejected | Duplicate)
    ]  # fmt: skip


@settings(max_examples=200)
@given(step_lists, st.sampled_from([0.0, 0.5, 1.0]))
def test_each_id_of_a_mute_takes_effect_once(steps: list[Step], compact_share: float) -> None:
    """No copy of a mute has a second effect, and each reply goes to the sender alone."""
    log = run(steps, compact_share=compact_share)
    for user in {key for key, _ in log.syncs}:
        muted = [each for each in log.sync_of(user) if isinstance(each, ConversationMuted)]
        names = [(each.conv_id, each.device_id, each.client_msg_id) for each in muted]
        assert len(names) == len(set(names))
        assert all(each.sender == user for each in muted)
        assert all(0 <= each.until <= MAX_TIME_MS for each in muted)


@settings(max_examples=100)
@given(step_lists)
def test_mutes_change_no_entry(steps: list[Step]) -> None:
    """Without the mutes, a conversation has the same entries; only their times differ.

    Each command has its own, increasing id.
    """
    steps = [
        step if isinstance(step, type) else replace(step, client_msg_id=uuid7(1, number))
        for number, step in enumerate(steps)
    ]
    without = [step for step in steps if not isinstance(step, MuteConversation)]

    def entries(log: Log) -> list[tuple[str, int, str, str]]:
        return sorted(
            (each.conv_id, each.seq, each.sender, each.client_msg_id)
            for conv_id in log.conversations
            for each in log.timeline_of(conv_id)
        )

    assert entries(run(steps)) == entries(run(without))


@settings(max_examples=100)
@given(step_lists)
def test_the_list_of_the_gateway_has_the_last_mute(steps: list[Step]) -> None:
    """From the rows of the sinks, the gateway shows each person their last mute."""
    log = run(steps)
    store = LaggingStore(log)
    store.write_all()
    for user in USERS:
        page = asyncio.run(list_conversations(store, user, ConversationsQuery(limit=10)))
        for shown in page.conversations:
            records = log.sync_of(user)
            due = [r.until for r in records
                   if isinstance(r, ConversationMuted) and r.conv_id == shown.conv_id]  # fmt: skip
            found = None if shown.mute is None else shown.mute.until
            assert found == (due[-1] if due else None)


def test_each_mute_has_the_expected_outcome() -> None:
    """Mutes that take effect, a copy, a wrong time, a used id, a stranger, no conversation."""
    sent = [
        mute(1), mute(2, 500), mute(2, 500), mute(3, -1), mute(4, MAX_TIME_MS + 1), mute(2, 900),
        mute(5, 0), mute(1), mute(6, sender="eve"), mute(7, conv_id="none"),
    ]  # fmt: skip
    log = run([GROUP, *sent])
    assert outcomes(log, "bob") == [
        ("ConversationMuted", MUTED_WITHOUT_END),
        ("ConversationMuted", 500),
        ("Duplicate", 2),
        ("Rejected", "invalid"),
        ("Rejected", "invalid"),
        ("Rejected", "conflict"),
        ("ConversationMuted", 0),
        ("Duplicate", 2),
        ("Rejected", "unknown_conversation"),
    ]
    assert outcomes(log, "eve") == [("Rejected", "not_a_member")]


def test_a_late_copy_does_not_end_a_later_mute() -> None:
    """After a restart, a copy of an old mute is a duplicate, and the later mute counts."""
    log = run([GROUP, mute(1, 0), mute(2), Commit, Crash, mute(1, 0)])
    assert outcomes(log, "bob")[-2:] == [
        ("ConversationMuted", MUTED_WITHOUT_END),
        ("Duplicate", 2),
    ]


def test_a_former_member_cannot_mute_and_a_mute_survives_a_leave() -> None:
    """A leave writes no record about the mute; the former member is rejected until the rejoin."""
    common: dict[str, Any] = {"conv_id": "c1", "sender": "bob", "device_id": "d"}
    leave = RemoveMembers(**common, client_msg_id=uuid7(9, 2), members=["bob"])
    join = AddMembers(**common, client_msg_id=uuid7(9, 4), members=["bob"])
    log = run([GROUP, mute(1), leave, mute(3, 0), join, mute(5, 0)])
    replies = [each for each in log.sync_of("bob") if isinstance(each, Reply)]
    assert [type(each).__name__ for each in replies] == [
        "ConversationMuted", "Rejected", "ConversationMuted",
    ]  # fmt: skip
    assert outcomes(log, "bob")[1] == ("Rejected", "not_a_member")
