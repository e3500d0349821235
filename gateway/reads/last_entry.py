"""The last entry of each conversation of a page, as the caller sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

from gateway.reads.access import ConversationAccess
from gateway.reads.shown import as_shown, hole_of
from gateway.store.store_port import Store, StoredEntry
from schemas.http.answers import LastEntryShown


class _Content(Struct):
    text: str | None = None


class _LastEntry(Struct):
    kind: str
    seq: int
    sender: str
    at: int
    content: _Content | None = None


_decode: Final = msgspec.json.Decoder(_LastEntry).decode


async def last_entries(
    store: Store, accesses: Mapping[str, ConversationAccess]
) -> dict[str, LastEntryShown]:
    """The last readable entry of each conversation, by id.

    Without the conversations whose last entry is recalled, not readable, or not stored.

    Raises:
        ServerUnavailable: The store does not answer.
    """
    readable = {
        conv_id: [access.end.seq]
        for conv_id, access in accesses.items()
        if access.may_see(access.end.seq)
    }
    stored = await store.entries_of(readable)
    shown = await asyncio.gather(
        *(as_shown(store, accesses[conv_id], entries) for conv_id, entries in stored.items())
    )
    entries = zip(stored, shown, strict=True)
    return {
        conv_id: _shown(each[0]) for conv_id, each in entries if each and hole_of(each[0]) is None
    }


def _shown(entry: StoredEntry) -> LastEntryShown:
    last = _decode(entry.json)
    text = None if last.content is None else last.content.text
    return LastEntryShown(seq=last.seq, kind=last.kind, sender=last.sender, at=last.at, text=text)
