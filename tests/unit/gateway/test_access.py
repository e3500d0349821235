"""The access check of a conversation."""

from __future__ import annotations

import pytest

from gateway.errors import ConversationNotFound
from gateway.http.problem_details import Problem
from gateway.http.problems import problem_of
from gateway.reads.access import access_conversation
from gateway.store.store_port import ConversationHead
from schemas.errors import ServerUnavailable
from schemas.number_types import SeqId
from schemas.visibility import MembershipChange, Period
from tests.support.gateway_store import FakeStore


async def refusal(store: FakeStore, user: str, conv_id: str) -> Problem:
    """The problem with which the request is refused."""
    with pytest.raises(ConversationNotFound) as refused:
        await access_conversation(store, user, conv_id)
    return problem_of(refused.value)


async def test_unknown_and_forbidden_conversations_have_the_same_answer() -> None:
    """Unknown and forbidden conversations give the same problem, so nobody can probe for ids."""
    store = FakeStore()
    store.put_conversation("real", 5)
    store.put_change("ann", "real", 1, joined=True)
    store.put_change("ann", "not created yet", 1, joined=True)
    forbidden = await refusal(store, "eve", "real")
    unknown = await refusal(store, "eve", "unreal")
    not_created = await refusal(store, "ann", "not created yet")
    no_id = await refusal(store, "eve", "x" * 129)
    assert forbidden.status == 404
    for other in (unknown, not_created, no_id):
        assert vars(other) == vars(forbidden)


async def test_a_leave_without_a_membership_period_gives_no_access() -> None:
    """A removal without a join before it gives no access."""
    store = FakeStore()
    store.put_conversation("c", 5)
    store.put_change("eve", "c", 3, joined=False)
    assert (await refusal(store, "eve", "c")).status == 404


async def test_a_member_reads_from_the_join_to_the_head() -> None:
    """A member reads from the join up to the stored head."""
    store = FakeStore()
    store.put_conversation("c", 5)
    store.put_change("ann", "c", 3, joined=True)
    access = await access_conversation(store, "ann", "c")
    assert [seq for seq in range(10) if access.may_see(SeqId(seq))] == [3, 4, 5]
    assert (access.head, access.is_member) == (5, True)


async def test_a_former_member_sees_no_later_head() -> None:
    """A former member reads their periods, and their head is the end of the last one."""
    store = FakeStore()
    store.put_conversation("c", 50)
    for seq, joined in [(1, True), (4, False), (7, True), (9, False)]:
        store.put_change("ann", "c", seq, joined=joined)
    access = await access_conversation(store, "ann", "c")
    assert [seq for seq in range(60) if access.may_see(SeqId(seq))] == [1, 2, 3, 4, 7, 8, 9]
    assert (access.head, access.is_member) == (9, False)


async def test_a_late_joiner_reads_by_the_history_rule() -> None:
    """With the rule ``all`` a join opens everything up to the head; the period stays the same."""
    store = FakeStore()
    store.put_conversation("c", 5)
    store.put_change("ann", "c", 4, joined=True, history="all")
    access = await access_conversation(store, "ann", "c")
    assert [seq for seq in range(1, 10) if access.may_see(SeqId(seq))] == [1, 2, 3, 4, 5]
    assert access.stays == [Period(SeqId(4))]
    assert (access.head, access.is_member) == (5, True)


async def test_a_former_member_with_open_history_sees_no_later_head() -> None:
    """With the rule ``all``, the end of a period is the limit, and a new join opens everything."""
    store = FakeStore()
    store.put_conversation("c", 50)
    store.put_change("ann", "c", 4, joined=True, history="all")
    store.put_change("ann", "c", 6, joined=False, history="all")
    access = await access_conversation(store, "ann", "c")
    assert [seq for seq in range(1, 60) if access.may_see(SeqId(seq))] == [1, 2, 3, 4, 5, 6]
    assert (access.head, access.is_member) == (6, False)
    store.put_change("ann", "c", 9, joined=True, history="all")
    access = await access_conversation(store, "ann", "c")
    assert [seq for seq in range(1, 60) if access.may_see(SeqId(seq))] == list(range(1, 51))


async def test_the_head_is_read_before_the_membership() -> None:
    """A removal during the access check never lets the person read beyond the removal."""

    class BeingRemoved(FakeStore):
        """After the first read of any kind, entry 6 removes ann and entry 7 is a message."""

        async def changes(self, user: str, conv_id: str) -> list[MembershipChange]:
            found = await super().changes(user, conv_id)
            self._go_on()
            return found

        async def conversation(self, conv_id: str) -> ConversationHead | None:
            found = await super().conversation(conv_id)
            self._go_on()
            return found

        def _go_on(self) -> None:
            self.put_change("ann", "c", 6, joined=False)
            self.put_conversation("c", 7)

    store = BeingRemoved()
    store.put_conversation("c", 5)
    store.put_change("ann", "c", 1, joined=True)
    access = await access_conversation(store, "ann", "c")
    assert not access.may_see(SeqId(7))
    assert access.head < 7


async def test_an_unreachable_store_is_not_a_refusal() -> None:
    """An unreachable store is `ServerUnavailable`, and not a refusal."""
    store = FakeStore()
    store.up = False
    with pytest.raises(ServerUnavailable):
        await access_conversation(store, "ann", "c")
