"""Search over what the caller may see, newest first.

The index is asked for what the caller may read back and nothing else, so neither an answer nor
its cursor tells whether there is more elsewhere. The index may be behind or ahead
of the store: each hit is looked up there, and shown as it stands there, if `access_conversation`
opens its conversation and shows its SeqId.

A hit is left out if it was found by other words than those that it would be shown with: by those
from before an edit, where the index is behind; by those of an edit that the store does not have
yet, or that the caller may not read, because they left before it. So until the index has an edit,
a message is found neither by its old words nor by its new ones.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Final, NamedTuple, Protocol

from msgspec import Raw

from gateway.access import ConversationAccess, access_conversation
from gateway.answers import SearchPage
from gateway.conversations import open_conversations
from gateway.search_terms import Hit, Place, Query, to_cursor
from gateway.shown import as_shown, words_of
from gateway.store import Store
from schemas.visibility import Period, readable

MAX_HITS: Final = 100
_MAX_ROUNDS: Final = 5
"""How often the index is asked for more in place of hits that are left out."""


class SearchAsked(NamedTuple):
    """Messages with all terms of a query, if given of one conversation and one sender."""

    query: Query
    conversation: str | None
    sender: str | None
    below: Place | None
    limit: int


class Index(Protocol):
    """The search index as a port. Elasticsearch is behind it."""

    async def newest(
        self, asked: SearchAsked, scope: dict[str, list[Period]], below: Place | None, limit: int
    ) -> list[Hit]:
        """The first ``limit`` messages below ``below`` that lie in ``scope``.

        Raises:
            Problem: 400, if the scope has more ranges than one search may name.
            ServerUnavailable: The index does not answer.
        """

    async def reachable(self) -> bool:
        """Whether a search would be answered now. Raises nothing."""


async def search(store: Store, index: Index, user: str, asked: SearchAsked) -> SearchPage:
    """One page of hits.

    A ``next`` says that there is another hit for this user, so it tells nothing of messages that
    match by words which the user may not read. It comes without such a hit only where
    `_MAX_ROUNDS` times `MAX_HITS` hits in a row were left out. Without a ``next`` it is the last
    page.

    Raises:
        Problem: 404, if a conversation is named that does not open to the user.
        ServerUnavailable: The store or the index does not answer.
    """
    scope = await _scope(store, user, asked.conversation)
    shown: list[tuple[Place, Raw]] = []
    below, size = asked.below, asked.limit + 1
    for _ in range(_MAX_ROUNDS):
        hits = await index.newest(asked, scope, below, size)
        shown += await _confirmed(store, user, hits)
        if len(shown) > asked.limit:
            return _page(asked, shown[: asked.limit], shown[asked.limit - 1][0])
        if len(hits) < size:
            return _page(asked, shown, None)
        below, size = hits[-1].place, MAX_HITS + 1
    return _page(asked, shown, below)


def _page(
    asked: SearchAsked, shown: list[tuple[Place, Raw]], following: Place | None
) -> SearchPage:
    return SearchPage(
        hits=[json for _, json in shown],
        next=None if following is None else to_cursor(following),
        cut=asked.query.is_cut,
    )


async def _scope(store: Store, user: str, conversation: str | None) -> dict[str, list[Period]]:
    """What the user may read back, by conversation: of one, or of all that they were ever in."""
    if conversation is not None:
        return {conversation: (await access_conversation(store, user, conversation)).readable}
    changes = await store.all_changes(user)
    scope = {conv_id: readable(of_one) for conv_id, of_one in changes.items()}
    return {conv_id: of_one for conv_id, of_one in scope.items() if of_one}


async def _confirmed(store: Store, user: str, hits: list[Hit]) -> list[tuple[Place, Raw]]:
    """The hits that the user may see now with the words they were found by, as they are shown."""
    wanted: defaultdict[str, dict[int, int]] = defaultdict(dict)
    for place, version in hits:
        wanted[place.conv_id][place.seq] = version
    opened = await open_conversations(store, user, list(wanted))
    found = await asyncio.gather(
        *(_messages(store, access, wanted[conv_id]) for conv_id, access in opened.items())
    )
    messages = dict(zip(opened, found, strict=True))
    stored = ((place, messages.get(place.conv_id, {}).get(place.seq)) for place, _ in hits)
    return [(place, json) for place, json in stored if json is not None]


async def _messages(
    store: Store, access: ConversationAccess, wanted: dict[int, int]
) -> dict[int, Raw]:
    """By SeqId; of each that is ``wanted``, the version that it was found by."""
    seen = [seq for seq in wanted if access.may_see(seq)]
    entries = await store.chosen_entries(access.conv_id, seen) if seen else []
    return {
        entry.seq: Raw(entry.json)
        for entry in await as_shown(store, access, entries)
        if entry.kind == "message_sent"
        and not entry.is_recalled
        and words_of(entry) == wanted[entry.seq]
    }
