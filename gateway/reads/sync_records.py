"""Reads the records to which the references of a sync timeline refer.

The row of ``sync`` contains a reply itself. Entries are read from the table ``message``, grouped
by conversation. The message sink may lag behind the sync sink, so an entry may not be stored yet.
These steps determine whether an entry is still expected:

1. Read the entries.
2. Read the heads of the conversations with missing entries.
3. Read again the missing entries that are not above the head.

When the store shows a head, it has stored or refused every entry up to the head. So an entry that
is missing after step 3 was refused, and the reader gets the same hole as in history.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from msgspec import Raw

from gateway.reads.shown import hole_of
from gateway.store.store_port import Store, StoredEntry
from schemas.codec import encode
from schemas.number_types import NO_SEQ, SeqId
from schemas.records import NotStoredHole, RecalledHole
from schemas.sync_rows import SyncReference

HEAD_READS_AT_ONCE: Final = 16
"""Heads read in parallel for one page."""

_Chosen: TypeAlias = dict[str, list[SeqId]]
"""SeqIds by conversation."""

_Place: TypeAlias = tuple[str, SeqId]
"""A conversation and a SeqId."""


async def records_of(store: Store, references: Sequence[SyncReference]) -> list[Raw | None]:
    """The record of each reference; None if its entry is not stored yet.

    Args:
        store: The store of the entries.
        references: The references, at most `gateway.store.store_port.SLICE`.

    Raises:
        ServerUnavailable: The store does not answer.
    """
    entries = await _entries(
        store, ((each.conv_id, each.seq) for each in references if each.reply is None)
    )
    records = [_known(each, entries) for each in references]
    missing = [
        (each.conv_id, each.seq)
        for each, record in zip(references, records, strict=True)
        if record is None
    ]
    if not missing:
        return records
    late = await _late(store, missing)
    return [
        late.get((each.conv_id, each.seq)) if record is None else record
        for each, record in zip(references, records, strict=True)
    ]


def _known(reference: SyncReference, entries: dict[_Place, StoredEntry]) -> Raw | None:
    """The record of a reference; None if it is an entry that was not found."""
    if reference.reply is not None:
        return reference.reply
    place = (reference.conv_id, reference.seq)
    entry = entries.get(place)
    return None if entry is None else _record(place, entry)


async def _late(store: Store, missing: Sequence[_Place]) -> dict[_Place, Raw]:
    """Steps 2 and 3: records of the entries that are stored by now, or never will be."""
    heads = await _heads(store, {conv_id for conv_id, _ in missing})
    due = [(conv_id, seq) for conv_id, seq in missing if seq <= heads[conv_id]]
    entries = await _entries(store, due)
    return {place: _record(place, entries.get(place)) for place in due}


async def _entries(store: Store, places: Iterable[_Place]) -> dict[_Place, StoredEntry]:
    chosen: _Chosen = defaultdict(list)
    for conv_id, seq in places:
        chosen[conv_id].append(seq)
    if not chosen:
        return {}
    stored = await store.entries_of(chosen)
    return {(conv_id, entry.seq): entry for conv_id, part in stored.items() for entry in part}


def _record(place: _Place, entry: StoredEntry | None) -> Raw:
    """The entry as it was sequenced, or its hole."""
    hole = hole_of(entry)
    if entry is not None and hole is None:
        return Raw(entry.json)
    conv_id, seq = place
    if hole == "recalled":
        return Raw(encode(RecalledHole(conv_id=conv_id, seq=seq)))
    return Raw(encode(NotStoredHole(conv_id=conv_id, seq=seq)))


async def _heads(store: Store, conv_ids: Iterable[str]) -> dict[str, SeqId]:
    """The head of each conversation; 0 if the conversation is not stored yet."""
    heads: dict[str, SeqId] = {}
    waiting = iter(conv_ids)

    async def work() -> None:
        for conv_id in waiting:
            conversation = await store.conversation(conv_id)
            heads[conv_id] = NO_SEQ if conversation is None else conversation.head

    workers = [asyncio.create_task(work()) for _ in range(HEAD_READS_AT_ONCE)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()  # after a failure, the other heads are not needed
    return heads
