"""Search in the messages that the caller may see, newest first.

A query of the index covers only the ranges that the caller may read back, so neither a result nor
its cursor reveals other messages. The index may lag behind the store or be ahead of it. So each
hit is read from the store, and shown with the store's text, if `access_conversation` gives access
to its conversation and SeqId.

A hit is dropped if the index matched words that the caller will not see: words from before an
edit, if the index lags; words of an edit that the store does not have yet; words of an edit from
after the caller has left. So until an edit is indexed, a search finds the message by neither its
old nor its new words.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Final

from msgspec import Raw

from gateway.reads.access import ConversationAccess, access_conversation
from gateway.reads.conversation_list import open_conversations
from gateway.reads.search_terms import to_cursor
from gateway.reads.shown import as_shown, words_of
from gateway.store.index_port import Hit, Index, SearchPosition, SearchRequest
from gateway.store.store_port import Store
from schemas.http.answers import SearchPage
from schemas.http.queries import MAX_HITS
from schemas.number_types import SeqId
from schemas.visibility import Period, readable

_MAX_ROUNDS: Final = 5
"""Maximum number of reads of the index for a page. Reads after the first replace dropped hits."""


async def search_messages(
    store: Store, index: Index, user: str, request: SearchRequest
) -> SearchPage:
    """One page of hits.

    A ``next`` means that there is another hit for this user, so it reveals nothing about messages
    that match by words which the user may not read. The only exception: after `_MAX_ROUNDS` times
    `MAX_HITS` dropped hits in a row there is a ``next`` without such a hit. The last page has no
    ``next``.

    Raises:
        ConversationNotFound: A conversation is named that the user may not open.
        ScopeTooWide: The user may read too many ranges for one search.
        ServerUnavailable: The store or the index does not answer.
    """
    scope = await _scope(store, user, request.conversation)
    shown: list[tuple[SearchPosition, Raw]] = []
    below, size = request.below, request.limit + 1
    for _ in range(_MAX_ROUNDS):
        hits = await index.newest(request, scope, below, size)
        shown += await _confirmed(store, user, hits)
        if len(shown) > request.limit:
            return _page(request, shown[: request.limit], shown[request.limit - 1][0])
        if len(hits) < size:
            return _page(request, shown, None)
        below, size = hits[-1].place, MAX_HITS + 1
    return _page(request, shown, below)


def _page(
    request: SearchRequest,
    shown: list[tuple[SearchPosition, Raw]],
    following: SearchPosition | None,
) -> SearchPage:
    return SearchPage(
        hits=[json for _, json in shown],
        next=None if following is None else to_cursor(following),
        cut=request.query.is_cut,
    )


async def _scope(store: Store, user: str, conversation: str | None) -> dict[str, list[Period]]:
    """The readable ranges of the user by conversation: of one conversation, or of all."""
    if conversation is not None:
        return {conversation: (await access_conversation(store, user, conversation)).readable}
    changes = await store.all_changes(user)
    scope = {conv_id: readable(of_one) for conv_id, of_one in changes.items()}
    return {conv_id: of_one for conv_id, of_one in scope.items() if of_one}


async def _confirmed(store: Store, user: str, hits: list[Hit]) -> list[tuple[SearchPosition, Raw]]:
    """The hits that the user may see with the words that the index matched, as shown."""
    wanted: defaultdict[str, dict[SeqId, SeqId]] = defaultdict(dict)
    for place, version in hits:
        wanted[place.conv_id][place.seq] = version
    opened = await open_conversations(store, user, list(wanted))
    shown = await asyncio.gather(
        *(_messages(store, access, wanted[conv_id]) for conv_id, access in opened.items())
    )
    messages = dict(zip(opened, shown, strict=True))
    stored = ((place, messages.get(place.conv_id, {}).get(place.seq)) for place, _ in hits)
    return [(place, json) for place, json in stored if json is not None]


async def _messages(
    store: Store, access: ConversationAccess, wanted: dict[SeqId, SeqId]
) -> dict[SeqId, Raw]:
    """The shown messages by SeqId. ``wanted`` has the matched version of each message."""
    seen = [seq for seq in wanted if access.may_see(seq)]
    entries = await store.chosen_entries(access.conv_id, seen) if seen else []
    return {
        entry.seq: Raw(entry.json)
        for entry in await as_shown(store, access, entries)
        if entry.kind == "message_sent"
        and not entry.is_recalled
        and words_of(entry) == wanted[entry.seq]
    }
