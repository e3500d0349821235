"""Edited and recalled messages in history and search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import pytest

from gateway.reads.access import access_conversation
from gateway.reads.history import HistoryRequest, read_history
from gateway.reads.search import search_messages
from gateway.reads.search_terms import parse_query
from gateway.store.index_port import SearchRequest
from gateway.store.store_port import StoredEntry
from schemas.number_types import SeqId
from tests.support.gateway_store import FakeIndex, FakeStore, edit, message

HEAD = 260


@pytest.fixture
def store() -> FakeStore:
    """``ann`` is a member all the time; ``bob`` left at 8, before the last edit of 3.

    9 recalls 2 with its edit 7; 6 and, many entries later, 250 edit 3.
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
    """Read the history in pages of 7 from 1 to beyond the head; return the item of each SeqId."""
    access = await access_conversation(store, user, "c")
    first, last, shown = 1, HEAD + 5, dict[int, Any]()
    while True:
        asked = HistoryRequest(SeqId(first), SeqId(last), 7, newest_first)
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
    """The pages of each direction show each SeqId exactly once, as an entry or a hole."""
    shown = await history(store, "ann", newest_first=newest_first)
    assert sorted(shown) == list(range(1, HEAD + 6))
    holes = {seq: item for seq, item in shown.items() if isinstance(item, str)}
    beyond = dict.fromkeys(range(HEAD + 1, HEAD + 6), "not_yet")
    assert holes == {2: "recalled", 7: "recalled"} | beyond
    former = await history(store, "bob", newest_first=newest_first)
    holes = {seq: item for seq, item in former.items() if isinstance(item, str)}
    assert holes == {2: "recalled", 7: "recalled"} | dict.fromkeys(range(9, HEAD + 6), "hidden")


async def test_an_edited_message_has_the_text_of_its_last_edit(store: FakeStore) -> None:
    """An edited message has the text and SeqId of its last edit; the edits are entries, too."""
    shown = await history(store, "ann")
    sent = msgspec.to_builtins(message("c", 3, "the best words"))
    assert shown[3] == sent | {"edited": 250}
    assert shown[250]["kind"] == "message_edited"
    assert "edited" not in shown[4]


async def test_a_member_who_left_before_an_edit_does_not_see_the_edit(store: FakeStore) -> None:
    """A person who left before an edit gets the message as it was sent."""
    shown = await history(store, "bob")
    assert shown[3]["content"]["text"] == "words 3"
    assert "edited" not in shown[3]


async def test_a_message_is_not_shown_if_its_edit_is_recalled_during_the_read(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recall between the reads of a message and of its edit makes the message a hole."""
    chosen = store.chosen_entries

    async def late(conv_id: str, seqs: list[SeqId]) -> list[StoredEntry]:
        store.put_recall("c", 255, 3, 6, 250)
        return await chosen(conv_id, seqs)

    monkeypatch.setattr(store, "chosen_entries", late)
    shown = await history(store, "ann")
    assert shown[3] == "recalled"


async def hits(
    store: FakeStore, user: str, words: str, indexed: Mapping[int, tuple[int, str]]
) -> dict[int, str]:
    """Search an index with the given version and text of each SeqId; return the shown texts."""
    index = FakeIndex()
    index.messages = [message("c", seq, text) for seq, (_, text) in indexed.items()]
    index.versions = {("c", seq): version for seq, (version, _) in indexed.items()}
    page = await search_messages(
        store, index, user, SearchRequest(parse_query(words), None, None, None, 10)
    )
    assert page.next is None
    found = [msgspec.json.decode(hit) for hit in page.hits]
    return {hit["seq"]: hit["content"]["text"] for hit in found}


AS_SENT: Final = {seq: (seq, f"words {seq}") for seq in range(1, 12)}


@pytest.mark.parametrize("user", ["ann", "bob"])
async def test_search_shows_nothing_recalled(store: FakeStore, user: str) -> None:
    """No search shows a recalled message, however far the index lags."""
    assert await hits(store, user, "2", AS_SENT | {2: (7, "worse words 2")}) == {}


async def test_search_finds_a_message_by_its_shown_words(store: FakeStore) -> None:
    """A hit must match the shown text: the index may lag behind the store, or be ahead."""
    last = {3: (250, "the best words")}
    assert await hits(store, "ann", "best", AS_SENT | last) == {3: "the best words"}
    for behind in (3, 6):
        assert 3 not in await hits(store, "ann", "words", AS_SENT | {3: (behind, "old words")})
    assert 4 not in await hits(store, "ann", "words", AS_SENT | {4: (251, "later words")})
    assert 4 in await hits(store, "ann", "words", AS_SENT)


async def test_a_member_who_left_before_an_edit_cannot_find_the_edited_words(
    store: FakeStore,
) -> None:
    """A person who left before an edit finds the message neither by the new words nor by the old.

    The index has only the new words, which this person may not read.
    """
    last = {3: (250, "the best words")}
    assert await hits(store, "bob", "best", AS_SENT | last) == {}
    assert await hits(store, "bob", "words", AS_SENT | last) == {
        seq: f"words {seq}" for seq in (1, 4, 5, 8)
    }


async def test_texts_from_after_a_removal_are_not_shown(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A removed reader gets no text from after the removal, between any two reads of a page.

    A member gets the new text.
    """
    for name in ("entries", "chosen_entries"):
        for user in ("eve", "ann"):
            store.put_change("eve", "c", 1, joined=True)
            with monkeypatch.context() as patched:
                remove_and_edit_before(store, name, patched)
                shown = await history(store, user)
            expected = "words of later" if user == "ann" else "words 20"
            assert shown[20]["content"]["text"] == expected, (name, user)
            store.put_message(message("c", 20, "words 20"))


def remove_and_edit_before(store: FakeStore, name: str, patched: pytest.MonkeyPatch) -> None:
    """Before the first of these reads, entry 261 removes eve and entry 262 edits 20."""
    read = getattr(store, name)

    async def late(*asked: Any) -> Any:
        store.put_change("eve", "c", HEAD + 1, joined=False)
        store.put_edit(edit("c", HEAD + 2, 20, "words of later"))
        return await read(*asked)

    patched.setattr(store, name, late)


async def test_a_search_shows_no_texts_from_after_a_removal(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same holds for a search, between the index and the store."""
    store.put_change("eve", "c", 1, joined=True)
    remove_and_edit_before(store, "chosen_entries", monkeypatch)
    later = {20: (HEAD + 2, "words of later")}
    assert await hits(store, "eve", "later", AS_SENT | later) == {}
    assert await hits(store, "ann", "later", AS_SENT | later) == {20: "words of later"}


@pytest.mark.parametrize("newest_first", [False, True])
async def test_a_former_member_learns_nothing_about_later_entries(
    store: FakeStore, *, newest_first: bool
) -> None:
    """A former member gets the same pages of every range, whatever happens after the removal."""

    async def pages() -> list[bytes]:
        access = await access_conversation(store, "bob", "c")
        ranges = [(first, last) for first in (1, 7, 8, 9, 300) for last in (8, 9, 261, 9 * 10**18)]
        asked = [
            HistoryRequest(SeqId(first), SeqId(last), limit, newest_first)
            for first, last in ranges
            for limit in (1, 2, 500)
            if first <= last
        ]
        return [msgspec.json.encode(await read_history(store, access, each)) for each in asked]

    before = await pages()
    for seq in range(HEAD + 1, HEAD + 40):
        store.put_message(message("c", seq, f"words {seq}"))
    store.put_edit(edit("c", HEAD + 40, 5, "words of later"))
    store.put_conversation("c", HEAD + 40, messages=300)
    assert await pages() == before


async def test_a_search_does_not_reveal_the_number_of_hidden_matches(store: FakeStore) -> None:
    """Messages edited after bob left change neither his hits nor a ``next``."""

    async def page(limit: int, edited: int) -> tuple[list[bytes], str | None]:
        index = FakeIndex()
        indexed = {seq: (seq, "a word") for seq in (7, 8)} | dict.fromkeys(
            range(3, 3 + edited), (HEAD, "a word of later")
        )
        index.messages = [message("c", seq, text) for seq, (_, text) in indexed.items()]
        index.versions = {("c", seq): version for seq, (version, _) in indexed.items()}
        asked = SearchRequest(parse_query("word"), "c", None, None, limit)
        answer = await search_messages(store, index, "bob", asked)
        return [bytes(hit) for hit in answer.hits], answer.next

    for limit in (1, 2, 3, 100):
        assert await page(limit, 4) == await page(limit, 0)
