"""What history and search make of edited and recalled messages."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.access import access_conversation
from gateway.history import HistoryAsked, read_history
from gateway.search import SearchAsked, search
from gateway.store import StoredEntry
from tests.support.gateway import FakeIndex, FakeStore, edit, message

HEAD = 260


@pytest.fixture
def store() -> FakeStore:
    """``ann`` is there all the time; ``bob`` has left at 8, before the last edit of 3.

    2 was recalled with its edit 7; 3 was edited by 6 and, far away, by 250.
    """
    store = FakeStore()
    for seq in range(1, HEAD + 1):
        store.put_message(message("c", seq, f"words {seq}"))
    store.put_edit(edit("c", 6, 3, "better words"))
    store.put_edit(edit("c", 7, 2, "worse words"))
    store.put_edit(edit("c", 250, 3, "the best words"))
    store.put_recall("c", 9, 2, 7)
    store.put_conversation("c", HEAD)
    store.put_change("ann", "c", 1, joined=True)
    store.put_change("bob", "c", 1, joined=True)
    store.put_change("bob", "c", 8, joined=False)
    return store


async def history(store: FakeStore, user: str, *, newest_first: bool = False) -> dict[int, Any]:
    """What each SeqId from 1 to a place beyond the head is shown as, in pages of 7."""
    access = await access_conversation(store, user, "c")
    first, last, shown = 1, HEAD + 5, dict[int, Any]()
    while True:
        asked = HistoryAsked(first, last, 7, newest_first)
        page = msgspec.json.decode(msgspec.json.encode(await read_history(store, access, asked)))
        for item in page["items"]:
            if "hole" in item:
                seqs = range(item["from"], item["to"] + 1)
                assert not shown.keys() & seqs
                shown |= dict.fromkeys(seqs, item["hole"])
            else:
                shown[item["seq"]] = item
        if page["next"] is None:
            return shown
        if newest_first:
            last = page["next"]
        else:
            first = page["next"]


@pytest.mark.parametrize("newest_first", [False, True])
async def test_every_seqid_is_an_entry_or_a_hole(store: FakeStore, *, newest_first: bool) -> None:
    """In both directions and over all pages, and the same in both."""
    shown = await history(store, "ann", newest_first=newest_first)
    assert sorted(shown) == list(range(1, HEAD + 6))
    holes = {seq: item for seq, item in shown.items() if isinstance(item, str)}
    beyond = dict.fromkeys(range(HEAD + 1, HEAD + 6), "not_yet")
    assert holes == {2: "recalled", 7: "recalled"} | beyond
    former = await history(store, "bob", newest_first=newest_first)
    holes = {seq: item for seq, item in former.items() if isinstance(item, str)}
    assert holes == {2: "recalled", 7: "recalled"} | dict.fromkeys(range(9, HEAD + 6), "hidden")


async def test_an_edited_message_says_what_its_last_edit_says(store: FakeStore) -> None:
    """With the SeqId of it; all else is as it was sent, and the edits are there as well."""
    shown = await history(store, "ann")
    sent = msgspec.to_builtins(message("c", 3, "the best words"))
    assert shown[3] == sent | {"edited": 250}
    assert shown[250]["kind"] == "message_edited"
    assert "edited" not in shown[4]


async def test_who_left_before_an_edit_does_not_see_it(store: FakeStore) -> None:
    """They see the message as it was sent."""
    shown = await history(store, "bob")
    assert shown[3]["content"]["text"] == "words 3"
    assert "edited" not in shown[3]


async def test_an_edit_that_is_recalled_meanwhile_takes_its_message_along(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Message and edit are two reads: between them both may go."""
    chosen = store.chosen_entries

    async def late(conv_id: str, seqs: list[int]) -> list[StoredEntry]:
        store.put_recall("c", 255, 3, 6, 250)
        return await chosen(conv_id, seqs)

    monkeypatch.setattr(store, "chosen_entries", late)
    shown = await history(store, "ann")
    assert shown[3] == "recalled"


async def test_search_shows_last_words_and_nothing_recalled(store: FakeStore) -> None:
    """Whatever the index says: it may be behind."""
    index = FakeIndex()
    index.messages = [message("c", seq, "words") for seq in (2, 3, 6, 7)]
    asked = SearchAsked(["words"], None, None, None, 10)
    page = await search(store, index, "ann", asked)
    hits = [msgspec.json.decode(hit) for hit in page.hits]
    assert [(hit["seq"], hit["content"]["text"]) for hit in hits] == [(3, "the best words")]
