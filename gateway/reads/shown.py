"""Entries as a reader sees them: an edited message has the text of its last edit.

The store has the text of an edit only in the row of the edit; the row of the message has the SeqId
of the edit. So a message and its edit are read one after the other, and both may be recalled
between the two reads.

`schemas.visibility.counts` decides whether an edit counts for a reader. A reader for whom the last
edit does not count sees the message as it was sent.

The membership was read before the edit. Between the two reads, the reader may have been removed
and the message edited after the removal. So the decision about an edit that may be newer than the
membership needs the membership again: `ConversationAccess.as_of` reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import msgspec
from msgspec import Raw

from gateway.reads.access import ConversationAccess
from gateway.store.store_port import SLICE, Store, StoredEntry
from schemas.http.answers import HoleKind
from schemas.number_types import NO_SEQ, SeqId

_Fields: TypeAlias = dict[str, Raw]
_decode: Final = msgspec.json.Decoder(_Fields).decode


async def as_shown(
    store: Store, access: ConversationAccess, stored: Sequence[StoredEntry]
) -> list[StoredEntry]:
    """The entries with the text that the reader sees. An entry without its edit is left out.

    In the result, ``edited_by`` is the edit whose text an entry is shown with; None for the
    original text.

    Raises:
        ServerUnavailable: The store does not answer.
    """
    stored = await _decided(store, access, stored)
    edited = {
        entry.seq: entry.edited_by
        for entry in stored
        if not entry.is_recalled and entry.edited_by is not None
    }
    if not edited:
        return list(stored)
    edits = await _edits(store, access.conv_id, stored, sorted(set(edited.values())))
    return [
        _with_words_of(edits[edited[entry.seq]], entry) if entry.seq in edited else entry
        for entry in stored
        if entry.seq not in edited or edited[entry.seq] in edits
    ]


async def _decided(
    store: Store, access: ConversationAccess, stored: Sequence[StoredEntry]
) -> list[StoredEntry]:
    """The entries, without ``edited_by`` if the edit does not count for the reader."""
    latest = max((entry.edited_by or NO_SEQ for entry in stored), default=NO_SEQ)
    access = await access.as_of(store, latest)
    return [
        entry
        if entry.edited_by is None or access.sees_edit(entry.edited_by)
        else entry._replace(edited_by=None)
        for entry in stored
    ]


def hole_of(entry: StoredEntry | None) -> HoleKind | None:
    """The hole that is shown for a SeqId up to the head; None if the entry itself is shown.

    Args:
        entry: The stored entry, or None.
    """
    if entry is None:
        return "not_yet"
    return "recalled" if entry.is_recalled else None


def words_of(entry: StoredEntry) -> SeqId:
    """The SeqId of the entry whose text a shown entry has: its own SeqId, or that of an edit."""
    return entry.seq if entry.edited_by is None else entry.edited_by


async def _edits(
    store: Store, conv_id: str, stored: Sequence[StoredEntry], seqs: Sequence[SeqId]
) -> dict[SeqId, StoredEntry]:
    there = {entry.seq: entry for entry in stored}
    missing = [seq for seq in seqs if seq not in there]
    for at in range(0, len(missing), SLICE):
        part = await store.chosen_entries(conv_id, missing[at : at + SLICE])
        there |= {entry.seq: entry for entry in part}
    return {seq: there[seq] for seq in seqs if seq in there}


def _with_words_of(edit: StoredEntry, message: StoredEntry) -> StoredEntry:
    if edit.is_recalled:
        return message._replace(json=b"", is_recalled=True)
    edited = _decode(edit.json)
    words = {name: edited[name] for name in ("content", "mentions")}
    shown = _decode(message.json) | words | {"edited": Raw(b"%d" % edit.seq)}
    return message._replace(json=msgspec.json.encode(shown))
