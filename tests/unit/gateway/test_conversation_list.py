"""The list of a person's conversations, and the list of a conversation's members."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.store.store_port import MAX_SORTED, ConversationHead, StoredMember
from schemas.number_types import SeqId
from schemas.visibility import MembershipChange
from tests.support.gateway import (
    Caller,
    serving,
    token_settings,
)
from tests.support.gateway_store import FakeIndex, FakeStore, edit, message

LIST = "/v1/conversations"
MEMBERS = "/v1/conversations/{id}/members"


@pytest.fixture
def store() -> FakeStore:
    """An empty store."""
    return FakeStore()


@pytest.fixture
async def gateway(store: FakeStore) -> AsyncIterator[Caller]:
    """A running gateway."""
    async with serving(token_settings(), store, FakeIndex()) as caller:
        yield caller


def put(store: FakeStore, conv_id: str, at: int, user: str = "ann", **about: Any) -> None:
    """Write a conversation of ``user`` whose head, message 3, has this time."""
    head = ConversationHead(SeqId(3), "push", messages=3, at=at, **about)
    store.put_described(conv_id, head)
    store.put_change(user, conv_id, 1, joined=True, at=1)
    store.put_message(message(conv_id, 3, text=f"words of {conv_id}"))


async def pages(
    gateway: Caller, path: str, key: str, user: str = "ann", **query: Any
) -> list[list[dict[str, Any]]]:
    """Return the items of all pages."""
    found: list[list[dict[str, Any]]] = []
    after: str | None = None
    while not found or after is not None:
        page = await gateway.get(path, user, after=after, **query)
        assert page.status == 200, page.body
        found.append(page.body[key])
        after = page.body["next"]
    return found


async def test_conversations_are_sorted_by_activity(gateway: Caller, store: FakeStore) -> None:
    """The pages have each conversation once, the newest first, and equal times by id."""
    times = {"a": 500, "b": 900, "c": 500, "t9:x": 700, "i:y": 0, "陈 z": 800}
    for conv_id, at in times.items():
        put(store, conv_id, at)
    for limit in (1, 2, 3, 100):
        found = await pages(gateway, LIST, "conversations", limit=limit)
        assert all(len(page) <= limit for page in found)
        listed = [one["conv_id"] for page in found for one in page]
        assert listed == sorted(times, key=lambda c: (-times[c], c))
    first = await gateway.get(LIST, "ann")
    assert first.body["order"] == "activity"
    assert [one["active"] for one in first.body["conversations"]] == sorted(
        times.values(), reverse=True
    )


async def test_a_conversation_is_shown_with_what_a_list_needs(
    gateway: Caller, store: FakeStore
) -> None:
    """A member gets name, metadata, number of members, and the last entry with its edit."""
    put(store, "c", 900, owner="ann", member_count=2, name="团队", metadata='{"n": 1}')
    store.put_conversation("c", 0)
    store.put_described(
        "c", ConversationHead(SeqId(4), "push", 3, 900, "ann", 2, "团队", '{"n": 1}')
    )
    store.put_edit(edit("c", 4, 3, "other words"))
    (shown,) = (await gateway.get(LIST, "ann")).body["conversations"]
    assert {name: shown[name] for name in ("name", "metadata", "member_count", "active")} == {
        "name": "团队", "metadata": '{"n": 1}', "member_count": 2, "active": 900,
    }  # fmt: skip
    assert shown["last"] == {
        "seq": 4, "kind": "message_edited", "sender": "ann", "at": message("c", 4).at,
        "text": "other words",
    }  # fmt: skip
    assert shown["unread"] == 3


async def test_the_last_message_has_the_words_of_its_edit(
    gateway: Caller, store: FakeStore
) -> None:
    """A message that a later entry edited is shown as in history."""
    put(store, "c", 900)
    store.put_edit(edit("c", 2, 3, "other words"))
    (shown,) = (await gateway.get(LIST, "ann")).body["conversations"]
    assert (shown["last"]["seq"], shown["last"]["text"]) == (3, "other words")


async def test_a_recalled_last_message_is_not_shown(gateway: Caller, store: FakeStore) -> None:
    """A recalled entry, and an entry that is not stored, are no last entry."""
    put(store, "c", 900)
    store.put_recall("c", 4, 3)
    put(store, "d", 800)
    store.put_described("d", ConversationHead(SeqId(7), "push", at=800))
    listed = (await gateway.get(LIST, "ann")).body["conversations"]
    assert [one["last"] for one in listed] == [None, None]


async def test_a_former_member_learns_nothing_from_after_the_leave(
    gateway: Caller, store: FakeStore
) -> None:
    """Name, metadata, members, the last entry and the time are not those from after the leave."""
    put(store, "c", 900, user="bob", owner="ann", member_count=5, name="new", metadata="{}")
    store.put_change("bob", "c", 2, joined=False, at=100)
    store.put_message(message("c", 2, text="bye"))
    (shown,) = (await gateway.get(LIST, "bob")).body["conversations"]
    hidden = ("name", "metadata", "member_count", "mode")
    assert [shown[name] for name in hidden] == [None] * 4
    assert (shown["active"], shown["last"]["seq"], shown["last"]["text"]) == (100, 2, "bye")


async def test_a_member_who_joined_above_the_head_sees_no_entry(
    gateway: Caller, store: FakeStore
) -> None:
    """The store has the join, but not yet the head: nothing from before the join is shown."""
    put(store, "c", 900)
    store.put_change("eve", "c", 4, joined=True)
    (shown,) = (await gateway.get(LIST, "eve")).body["conversations"]
    assert shown["last"] is None


async def test_the_cursor_of_a_person_who_was_just_removed_has_the_time_of_the_leave(
    store: FakeStore,
) -> None:
    """A removal between sorting and reading: the cursor does not reveal the later time."""

    class BeingRemoved(FakeStore):
        async def activities(self, user: str, most: int) -> dict[str, int] | None:
            times = await super().activities(user, most)
            self.put_change(user, "a", 2, joined=False, at=100)
            return times

    store = BeingRemoved()
    put(store, "a", 987_654)
    put(store, "b", 50)
    async with serving(token_settings(), store, FakeIndex()) as gateway:
        page = await gateway.get(LIST, "ann", limit=1)
    assert page.body["conversations"][0]["conv_id"] == "a"
    assert "987654" not in json.dumps(page.body)
    assert page.body["next"] == "t100:a"


async def test_many_conversations_are_listed_by_id(
    gateway: Caller, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above the bound, the pages are by id, say so, and have each conversation once."""
    monkeypatch.setattr("gateway.reads.conversation_order.MAX_SORTED", 4)
    for number in range(5):
        put(store, f"c{number}", number)
    page = await gateway.get(LIST, "ann", limit=2)
    assert (page.body["order"], page.body["next"]) == ("id", "i:c1")
    found = await pages(gateway, LIST, "conversations", limit=2)
    assert [one["conv_id"] for page in found for one in page] == [f"c{n}" for n in range(5)]
    wrong = await gateway.get(LIST, "ann", after="t3:c3")
    assert (wrong.status, wrong.body["parameter"]) == (400, "after")
    assert MAX_SORTED == 5_000


@pytest.mark.parametrize("after", ["c1", "t:c", "tx:c", "t1", "i:", "t" + "9" * 20 + ":c"])
async def test_a_cursor_of_another_order_is_refused(gateway: Caller, after: str) -> None:
    """A cursor that no page by activity has is a bad parameter."""
    answer = await gateway.get(LIST, "ann", after=after)
    assert (answer.status, answer.body["parameter"]) == (400, "after")


async def test_members_have_their_join_and_the_owner(gateway: Caller, store: FakeStore) -> None:
    """A member sees all present members, in pages, and no former member."""
    put(store, "c", 900, owner="bob")
    people = [
        StoredMember("ann", 1, joined=True, at=10),
        StoredMember("bob", 1, joined=True, at=10),
        StoredMember("eve", 3, joined=False, at=30),
        StoredMember("陈", 2, joined=True, at=20),
    ]
    for person in people:
        store.put_member("c", person)
    path = MEMBERS.format(id="c")
    for limit in (1, 2, 3, 200):
        found = await pages(gateway, path, "members", limit=limit)
        assert [one for page in found for one in page] == [
            {"user": "ann", "seq": 1, "joined": 10, "owner": False},
            {"user": "bob", "seq": 1, "joined": 10, "owner": True},
            {"user": "陈", "seq": 2, "joined": 20, "owner": False},
        ]
    assert (await gateway.get(path, "ann")).status == 200


async def test_only_present_members_see_the_members(gateway: Caller, store: FakeStore) -> None:
    """A former member gets 403; a stranger gets the same 404 as for an unknown conversation."""
    put(store, "c", 900)
    put(store, "c", 900, user="bob")
    store.put_change("bob", "c", 2, joined=False)
    store.put_member("c", StoredMember("ann", 1, joined=True, at=10))
    former = await gateway.get(MEMBERS.format(id="c"), "bob")
    assert (former.status, former.body["type"]) == (403, "urn:im-timeline:problem:not-a-member")
    stranger = await gateway.get(MEMBERS.format(id="c"), "eve")
    unknown = await gateway.get(MEMBERS.format(id="nowhere"), "eve")
    assert stranger.status == unknown.status == 404
    same = ("type", "title", "detail")
    assert [stranger.body[name] for name in same] == [unknown.body[name] for name in same]


async def test_a_member_who_is_being_removed_sees_no_later_member() -> None:
    """The people are read before the membership: a removal in between is a refusal."""

    class BeingRemoved(FakeStore):
        async def changes(self, user: str, conv_id: str) -> list[MembershipChange]:
            self.put_change("ann", "c", 2, joined=False)
            return await super().changes(user, conv_id)

    store = BeingRemoved()
    put(store, "c", 900)
    async with serving(token_settings(), store, FakeIndex()) as gateway:
        assert (await gateway.get(MEMBERS.format(id="c"), "ann")).status == 403
