"""A read mark on a recalled message."""

from __future__ import annotations

from msgspec.structs import replace

from gateway.reads.access import access_conversation
from gateway.reads.unread_count import reading_of
from tests.support.gateway_store import FakeStore, message


async def test_a_mark_on_recalled_messages_does_not_change_the_unread_count() -> None:
    """The number of unread messages does not change when the messages at the mark are recalled."""
    store = FakeStore()
    for seq in range(1, 11):
        store.put_message(replace(message("c", seq), messages=seq))
    store.put_conversation("c", 10, messages=10)
    store.put_change("bob", "c", 1, joined=True, messages=1)
    store.put_marked("c", "bob", 6)
    access = await access_conversation(store, "bob", "c")
    before = await reading_of(store, access)
    store.put_recall("c", 10, 4, 5, 6)
    assert await reading_of(store, access) == before
    assert (before.mark, before.unread) == (6, 4)
