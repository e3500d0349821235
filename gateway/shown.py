"""Entries as they are shown: an edited message says what its last edit says.

The store has the text of an edit once, in the row of the edit; the row of its message has the
SeqId of it. So a message and its edit are two reads, which are of different moments: the edit may
have been recalled between them, and its message with it.

An edit counts for whoever may read it. Who left before it sees the message as it was sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import msgspec
from msgspec import Raw

from gateway.access import ConversationAccess
from gateway.store import SLICE, Store, StoredEntry
from schemas.visibility import visible

_Fields: TypeAlias = dict[str, Raw]
_decode: Final = msgspec.json.Decoder(_Fields).decode


async def as_shown(
    store: Store, access: ConversationAccess, found: Sequence[StoredEntry]
) -> list[StoredEntry]:
    """The same entries with the words of their last edits. One whose edit is gone is recalled.

    Raises:
        ServerUnavailable: The store does not answer.
    """
    edited = {
        entry.seq: by
        for entry in found
        if not entry.is_recalled and (by := words_of(access, entry)) != entry.seq
    }
    if not edited:
        return list(found)
    edits = await _edits(store, access.conv_id, found, sorted(set(edited.values())))
    return [
        _with_words_of(edits[edited[entry.seq]], entry) if entry.seq in edited else entry
        for entry in found
        if entry.seq not in edited or edited[entry.seq] in edits
    ]


def words_of(access: ConversationAccess, entry: StoredEntry) -> int:
    """The SeqId of the entry whose words an entry is shown with: its own, or of its last edit."""
    by = entry.edited_by
    return by if by is not None and visible(access.readable, by) else entry.seq


async def _edits(
    store: Store, conv_id: str, found: Sequence[StoredEntry], seqs: Sequence[int]
) -> dict[int, StoredEntry]:
    there = {entry.seq: entry for entry in found}
    missing = [seq for seq in seqs if seq not in there]
    for at in range(0, len(missing), SLICE):
        part = await store.chosen_entries(conv_id, missing[at : at + SLICE])
        there |= {entry.seq: entry for entry in part}
    return {seq: there[seq] for seq in seqs if seq in there}


def _with_words_of(edit: StoredEntry, message: StoredEntry) -> StoredEntry:
    if edit.is_recalled:
        return message._replace(json=b"", is_recalled=True)
    content = _decode(edit.json)["content"]
    shown = _decode(message.json) | {"content": content, "edited": Raw(b"%d" % edit.seq)}
    return message._replace(json=msgspec.json.encode(shown))
