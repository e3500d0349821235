"""Read marks and unread counts: exact after any sequence of commands and crashes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.reads.conversation_list import list_conversations
from schemas.http.queries import ConversationsQuery
from schemas.ids import uuid7
from schemas.number_types import SeqId
from schemas.records import (
    AnyEntry,
    ConversationCreated,
    Duplicate,
    MarkRead,
    MembersAdded,
    MembersRemoved,
    MessageSent,
    ReadMarked,
    Rejected,
    Reply,
)
from schemas.unread import Counted, unread
from tests.support.commands import USERS
from tests.support.group_steps import GROUP, Step, steps_of_group
from tests.support.local_world import LaggingStore
from tests.support.sequencing import Log, run
from tests.support.unread import walked

marks = st.builds(
    MarkRead,
    conv_id=st.just("c1"),
    sender=st.sampled_from(["ann", "bob", "陈"]),
    device_id=st.sampled_from(["phone", "desk"]),
    client_msg_id=st.just(uuid7(1, 1)),
    seq=st.integers(1, 12),
)
step_lists = steps_of_group(marks)


def in_order(log: Log) -> Iterable[tuple[str, list[AnyEntry]]]:
    """Return each conversation with its entries."""
    return ((conv_id, log.timeline_of(conv_id)) for conv_id in log.conversations)


def counted(log: Log, conv_id: str, user: str) -> int | None:
    """Compute the unread number from the entries' counts; None for a person without a period."""
    end = mark = None
    inside = False
    for entry in log.timeline_of(conv_id):
        place = Counted(entry.seq, entry.messages)
        if isinstance(entry, ConversationCreated | MembersAdded) and user in entry.members:
            inside, mark = True, place
        if isinstance(entry, MessageSent) and entry.sender == user:
            mark = place
        end = place if inside else end
        if isinstance(entry, MembersRemoved) and user in entry.members:
            inside, mark = False, place
    if end is None or mark is None:
        return None
    counts = {entry.seq: entry.messages for entry in log.timeline_of(conv_id)}
    for record in log.sync_of(user):
        if isinstance(record, ReadMarked) and record.conv_id == conv_id:
            mark = max(mark, Counted(record.seq, counts[record.seq]))
    return unread(end, mark)


@settings(max_examples=300)
@given(step_lists, st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([1, 1_000]))
def test_the_unread_counts_equal_a_naive_count(
    steps: list[Step], compact_share: float, busy_limit: int
) -> None:
    """The counts equal a direct count of the entries, for each person.

    Periods, own messages, marks, switches of mode and crashes are included.
    """
    log = run(steps, busy_limit=busy_limit, compact_share=compact_share)
    for conv_id, timeline in in_order(log):
        for user in USERS:
            found = counted(log, conv_id, user)
            assert (found or 0) == walked(timeline, log.sync_of(user), user)


@settings(max_examples=100)
@given(step_lists)
def test_the_unread_counts_of_the_gateway_equal_a_naive_count(steps: list[Step]) -> None:
    """From the rows of the sinks, the gateway shows each person the directly counted number.

    The person is or was a member of the conversations.
    """
    log = run(steps)
    store = LaggingStore(log)
    store.write_all()
    for user in USERS:
        page = asyncio.run(list_conversations(store, user, ConversationsQuery(limit=10)))
        found = {shown.conv_id: shown for shown in page.conversations}
        for conv_id, timeline in in_order(log):
            due = walked(timeline, log.sync_of(user), user)
            if conv_id in found:
                assert (found[conv_id].unread, found[conv_id].head >= found[conv_id].read) == (
                    due,
                    True,
                )
            else:
                assert due == 0


@settings(max_examples=100)
@given(step_lists, st.lists(st.integers(0, 12), min_size=4, max_size=4))
def test_lagging_sinks_never_count_own_messages_as_unread(
    steps: list[Step], done: list[int]
) -> None:
    """At any time the number is that of the log up to the head on the same page.

    The reader's own message after this head may already count as a mark: then the number is 0.
    Marks by devices are left out here, because they may be stored earlier or later than the head.
    """
    log = run([step for step in steps if not isinstance(step, MarkRead)])
    store = LaggingStore(log)
    store.write_memberships(done[0] + done[1] + done[2])
    store.write_entries(done[1] + done[2])
    store.write_heads(done[2])
    for user in USERS:
        page = asyncio.run(list_conversations(store, user, ConversationsQuery(limit=10)))
        for shown in page.conversations:
            stays = shown.periods
            if stays[-1].first > shown.head or any(
                each.last is not None and each.last > shown.head for each in stays
            ):
                continue  # memberships are stored ahead of the head
            timeline = log.timeline_of(shown.conv_id)
            due = walked(timeline[: shown.head], [], user)
            later = timeline[shown.head :]
            if any(isinstance(each, MessageSent) and each.sender == user for each in later):
                assert shown.unread in {0, due}
            else:
                assert shown.unread == due


@given(step_lists)
def test_every_entry_counts_the_messages_up_to_it(steps: list[Step]) -> None:
    """Each entry has the number of messages up to it, after any commands and crashes."""
    for _, timeline in in_order(run(steps)):
        messages = 0
        for entry in timeline:
            messages += isinstance(entry, MessageSent)
            assert entry.messages == messages


@given(step_lists)
def test_a_mark_is_moved_or_a_duplicate_or_refused(steps: list[Step]) -> None:
    """Each mark gets one reply for its sender alone: a move, a duplicate or a rejection."""
    log = run(steps)
    asked = [step for step in steps if isinstance(step, MarkRead)]
    ids = {(m.conv_id, m.sender, m.client_msg_id) for m in asked}
    answers: list[Reply] = []
    for user in {key for key, _ in log.syncs}:
        for record in log.sync_of(user):
            if isinstance(record, Reply):
                assert record.sender == user
                answers.append(record)
    of_marks = [r for r in answers if (r.conv_id, r.sender, r.client_msg_id) in ids]
    assert len(of_marks) >= len(asked)
    assert all(isinstance(r, ReadMarked | Duplicate | Rejected) for r in of_marks)


@given(step_lists)
def test_marks_change_no_entry(steps: list[Step]) -> None:
    """Marks change nothing in the entries of a conversation except their times.

    Each command has its own, increasing id. A mark with the id of a later command would make that
    command a duplicate.
    """
    steps = [
        step if isinstance(step, type) else replace(step, client_msg_id=uuid7(1, number))
        for number, step in enumerate(steps)
    ]
    without = [step for step in steps if not isinstance(step, MarkRead)]
    kept = [(e.conv_id, e.seq, e.sender, e.client_msg_id, e.messages)
            for _, timeline in in_order(run(without)) for e in timeline]  # fmt: skip
    found = [(e.conv_id, e.seq, e.sender, e.client_msg_id, e.messages)
             for _, timeline in in_order(run(steps)) for e in timeline]  # fmt: skip
    assert sorted(found) == sorted(kept)


@given(step_lists)
def test_a_mark_moves_forward_within_a_membership_period(steps: list[Step]) -> None:
    """A person's marks increase, and each is at an entry of the person's periods."""
    log = run(steps)
    for conv_id, timeline in in_order(log):
        for user in USERS:
            moved = [r.seq for r in log.sync_of(user)
                     if isinstance(r, ReadMarked) and r.conv_id == conv_id]  # fmt: skip
            assert moved == sorted(set(moved))
            assert all(is_inside(timeline, user, seq) for seq in moved)


def is_inside(timeline: list[AnyEntry], user: str, seq: int) -> bool:
    """Return whether a person was a member at an entry."""
    inside = False
    for entry in timeline[:seq]:
        if isinstance(entry, ConversationCreated | MembersAdded) and user in entry.members:
            inside = True
        elif isinstance(entry, MembersRemoved) and user in entry.members:
            inside = False
    return inside


def mark(seq: int, sender: str = "bob", conv_id: str = "c1") -> MarkRead:
    """A read mark of a person."""
    return MarkRead(
        conv_id=conv_id,
        sender=sender,
        device_id="d",
        client_msg_id=uuid7(9, seq % 9),
        seq=SeqId(seq),
    )


def test_each_mark_has_the_expected_outcome() -> None:
    """Marks that move, that are known, out of range, by a stranger, or of no conversation."""
    asked = [mark(2), mark(3), mark(0), mark(-3), mark(1), mark(1, "bob", "c"), mark(1, "eve")]
    log = run([GROUP, *asked])
    replies = [r for user in ("bob", "eve") for r in log.sync_of(user) if isinstance(r, Reply)]
    answers = [
        (type(r).__name__, getattr(r, "seq", None) or getattr(r, "code", "")) for r in replies
    ]
    assert answers == [
        ("ReadMarked", 2),
        ("Rejected", "invalid"),
        ("Rejected", "invalid"),
        ("Rejected", "invalid"),
        ("Duplicate", 2),
        ("Rejected", "unknown_conversation"),
        ("Rejected", "not_a_member"),
    ]
