"""Pages of history and search, with any cuts: each item exactly once."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any, Final, NamedTuple
from unittest.mock import patch

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.reads import history, search
from gateway.reads.access import access_conversation
from gateway.reads.history import HistoryRequest, read_history
from gateway.reads.search_terms import from_cursor, parse_query
from gateway.store.index_port import SearchRequest
from schemas.http.answers import Hole
from schemas.number_types import SeqId
from schemas.records import HistoryRule
from schemas.visibility import MembershipChange, Period, readable, visible
from tests.support.gateway import covered
from tests.support.gateway_store import FakeIndex, FakeStore, message

untimed = settings(deadline=None)
"""The time of an example depends on the load of the machine."""

HEAD = 40
LISTED_AHEAD = 6
RULES: Final[tuple[HistoryRule, ...]] = ("since_join", "all")
changes = st.lists(st.tuples(st.integers(1, HEAD), st.booleans()), max_size=12)


class Scene(NamedTuple):
    """A stored conversation with its reader."""

    store: FakeStore
    changes: list[MembershipChange]
    readable: list[Period]
    head: int
    stored: frozenset[int]


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Draw a conversation, and a person with at least one period in it."""
    store = FakeStore()
    joined = draw(st.integers(1, HEAD))
    happened = dict([(joined, True), *(change for change in draw(changes) if change[0] > joined)])
    rule = draw(st.sampled_from(RULES))
    happened_changes = [MembershipChange(SeqId(seq), came, rule) for seq, came in happened.items()]
    head = draw(st.integers(0, HEAD))
    missing = draw(st.sets(st.integers(1, HEAD), max_size=3))
    stored = frozenset(range(1, head + 5)) - missing
    store.put_conversation("c", head)
    for change in happened_changes:
        store.put_change("ann", "c", change.seq, joined=change.joined, history=rule)
    for seq in stored:
        store.put_message(message("c", seq, text="x" * draw(st.sampled_from([0, 10, 300]))))
    return Scene(store, happened_changes, readable(happened_changes), head, stored)


async def all_pages(scene: Scene, asked: HistoryRequest) -> list[dict[str, Any]]:
    """Return the items of all pages, following ``next``."""
    access = await access_conversation(scene.store, "ann", "c")
    items: list[dict[str, Any]] = []
    while True:
        page = await read_history(scene.store, access, asked)
        assert len(page.items) <= asked.limit
        entries = [item for item in page.items if not isinstance(item, Hole)]
        assert len(entries) < 2 or sum(map(_size, entries)) <= history.MAX_PAGE_BYTES
        items += [
            msgspec.to_builtins(msgspec.json.decode(msgspec.json.encode(i))) for i in page.items
        ]
        if page.next is None:
            return items
        assert page.items
        if asked.newest_first:
            asked = asked._replace(last=page.next)
        else:
            asked = asked._replace(first=page.next)


def _size(item: Any) -> int:
    return len(bytes(item))


any_range = st.builds(
    lambda first, length, limit, newest_first: HistoryRequest(
        first, first + length, limit, newest_first
    ),
    st.integers(1, HEAD + 10),
    st.integers(0, HEAD + 10),
    st.integers(1, 60),
    st.booleans(),
)


@untimed
@given(scenes(), any_range, st.integers(1, 3_000), st.integers(1, 9))
def test_history_accounts_for_each_seq_once(
    scene: Scene, asked: HistoryRequest, page_bytes: int, at_a_time: int
) -> None:
    """All pages of any range, in both directions, cover each SeqId of the range once.

    Only readable entries are shown.
    """
    with (
        patch.object(history, "MAX_PAGE_BYTES", page_bytes),
        patch.object(history, "SLICE", at_a_time),
    ):
        items = asyncio.run(all_pages(scene, asked))
    seqs = list(range(asked.first, asked.last + 1))
    expected = seqs[::-1] if asked.newest_first else seqs
    assert covered(items, newest_first=asked.newest_first) == expected
    shown = {item["seq"] for item in items if "hole" not in item}
    assert shown == {
        s
        for s in seqs
        if visible(scene.readable, SeqId(s)) and s <= scene.head and s in scene.stored
    }
    hidden = covered(item for item in items if item.get("hole") == "hidden")
    assert set(hidden) == {s for s in seqs if not visible(scene.readable, SeqId(s))}


@untimed
@given(scenes(), st.booleans())
def test_an_empty_range_is_an_empty_page(
    scene: Scene,
    newest_first: bool,  # noqa: FBT001 - Hypothesis draws it
) -> None:
    """A range that ends before it begins has no items and no next."""
    assert (
        asyncio.run(
            all_pages(scene, HistoryRequest(SeqId(HEAD), SeqId(HEAD - 1), 5, newest_first))
        )
        == []
    )


@untimed
@given(
    st.lists(scenes(), min_size=1, max_size=3),
    st.integers(1, 7),
    st.sets(st.integers(1, HEAD)),
    st.sets(st.integers(1, HEAD)),
    st.integers(1, 3),
)
def test_search_returns_each_visible_hit_once(
    parts: list[Scene], limit: int, said: set[int], otherwise: set[int], rounds: int
) -> None:
    """All pages have each readable, stored hit once, newest first.

    A hit is left out if the index has the words of an edit that the store lacks.
    """
    store, index = FakeStore(), FakeIndex()
    wanted = set()
    for number, scene in enumerate(parts):
        conv_id = f"c{number}"
        store.put_conversation(conv_id, scene.head)
        for seq, joined, rule, *_ in scene.changes:
            store.put_change("ann", conv_id, seq, joined=joined, history=rule)
        for seq in map(SeqId, range(1, HEAD + 1)):
            one = message(conv_id, seq, text="found" if seq in said else "other")
            index.messages.append(one)  # the index is ahead of the store
            if seq in otherwise:
                index.versions[conv_id, seq] = HEAD + seq
            if seq in scene.stored:
                store.put_message(one)
        wanted |= {
            (conv_id, seq)
            for seq in (said & scene.stored) - otherwise
            if seq <= scene.head and visible(scene.readable, SeqId(seq))
        }
    with patch.object(search, "_MAX_ROUNDS", rounds):
        found = asyncio.run(all_hits(store, index, limit))
    places = [(hit["conv_id"], hit["seq"]) for hit in found]
    assert sorted(places) == sorted(wanted)
    assert all(one["at"] >= other["at"] for one, other in pairwise(found))


async def all_hits(store: FakeStore, index: FakeIndex, limit: int) -> list[dict[str, Any]]:
    """Return the hits of all pages."""
    asked = SearchRequest(parse_query("found"), None, None, None, limit)
    hits: list[dict[str, Any]] = []
    while True:
        page = await search.search_messages(store, index, "ann", asked)
        assert len(page.hits) <= limit
        hits += [msgspec.json.decode(hit) for hit in page.hits]
        if page.next is None:
            return hits
        asked = asked._replace(below=from_cursor(page.next))
