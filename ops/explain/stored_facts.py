"""The facts in the store and in the index, read as the gateway reads them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from elasticsearch import Elasticsearch, NotFoundError

from backends.elasticsearch.generations import read_generation
from backends.elasticsearch.index import clear_failures, document_id, index_name
from gateway.reads.expiry import EXPIRIES, gone
from gateway.store.store_port import SLICE, ConversationHead, Expiry, Store, StoredEntry
from ops.explain.facts import MODE_ENTRIES, Fact, StepResult, edit_is_shown
from ops.explain.log_search import EntryFields, FoundSync, entry_fields
from schemas.buckets import sync_bucket
from schemas.lifetime import SKIPPED_SINCE
from schemas.number_types import FIRST_SEQ, NO_SEQ, Milliseconds, SeqId, SyncSeqId
from schemas.records import FanoutMode
from schemas.settings import Settings
from schemas.sync_rows import decode_row, references
from schemas.visibility import MembershipChange, readable, visible

MOST_SLICES: Final = 200
"""Slices of entries that are read to find the mode: 20,000 entries."""


class StoredView(NamedTuple):
    """What the store has about one person and one entry."""

    head: ConversationHead | None
    changes: Sequence[MembershipChange]
    entry: StoredEntry | None
    nearby_at: Milliseconds
    """The time of a stored entry that is not after this one (ms); 0 if there is none."""


async def stored_view(store: Store, user: str, conv_id: str, seq: SeqId) -> StoredView:
    """Reads the head before the memberships, as `gateway.reads.access` does."""
    head = await store.conversation(conv_id)
    changes = await store.changes(user, conv_id)
    first = SeqId(max(FIRST_SEQ, seq - SLICE + 1))
    entries = await store.entries(conv_id, first, seq)
    entry = next((each for each in entries if each.seq == seq), None)
    times = [fields.at for each in entries if (fields := entry_fields(each.json)) is not None]
    return StoredView(head, changes, entry, Milliseconds(max(times, default=0)))


async def mode_at(store: Store, conv_id: str, seq: SeqId) -> FanoutMode | None:
    """The mode with which an entry was fanned out; None if no stored entry tells it."""
    last = seq
    for _ in range(MOST_SLICES):
        if last < FIRST_SEQ:
            return None
        first = SeqId(max(FIRST_SEQ, last - SLICE + 1))
        for each in sorted(await store.entries(conv_id, first, last), reverse=True):
            is_later = each.seq == seq and each.kind == "fanout_changed"
            if each.kind in MODE_ENTRIES and not is_later:
                fields = entry_fields(each.json)
                return _mode(fields)
        last = SeqId(first - 1)
    return None


def _mode(fields: EntryFields | None) -> FanoutMode | None:
    if fields is None or fields.mode not in {"push", "pull"}:
        return None
    return "push" if fields.mode == "push" else "pull"


def message_fact(view: StoredView, seq: SeqId) -> Fact:
    """Whether the store has the entry."""
    if view.entry is not None:
        return Fact(step="stored", result="yes", text="table message has the entry")
    if view.head is not None and view.head.head >= seq:
        text = "table message lacks the entry: `im dead-letter list`, then `im repair`"
        return Fact(step="stored", result="no", text=text)
    text = "sink-message has not stored the entry yet: see `im status`"
    return Fact(step="stored", result="no", text=text)


def altered_fact(view: StoredView, seq: SeqId, recalled_by: SeqId | None) -> Fact:
    """Whether the message was recalled or edited, and which text the person sees."""
    entry = view.entry
    if entry is not None and entry.is_recalled:
        by = f" by entry {recalled_by}" if recalled_by else ""
        data = {"recalled_by": recalled_by or NO_SEQ}
        return Fact(step="altered", result="yes", text=f"recalled{by}", data=data)
    if entry is not None and entry.edited_by is not None:
        may_read = visible(readable(view.changes), seq)
        is_shown = may_read and edit_is_shown(view.changes, entry.edited_by)
        which = "sees the new text" if is_shown else "sees the old text: the edit is after a leave"
        text = f"edited by entry {entry.edited_by}"
        text += f"; the person {which}" if may_read else ""
        return Fact(
            step="altered", result="yes", text=text,
            data={"edited_by": entry.edited_by, "edit_is_shown": is_shown},
        )  # fmt: skip
    return Fact(step="altered", result="no", text="neither recalled nor edited")


async def reference_fact(store: Store, user: str, place: SyncSeqId, *, now: float) -> Fact:
    """Whether the store has the reference in the person's sync timeline."""
    rows = await store.sync_rows(user, sync_bucket(place), SyncSeqId(place - 1), 1)
    data = {"sync_seq": place}
    for row in rows:
        if place in {each.sync_seq for each in references(decode_row(row.json))}:
            text = f"table sync has the reference, sync SeqId {place}"
            return Fact(step="referenced", result="yes", text=text, data=data)
    expiries = await store.expiries(user, EXPIRIES)
    if skipped := _skipped(expiries, place):
        return Fact(step="referenced", result="no", text=skipped, data=data)
    if place <= gone(expiries, now):
        text = "the reference in table sync has expired: a device behind it rebuilds"
        return Fact(step="referenced", result="no", text=text, data=data)
    text = "table sync lacks the reference: see `im status`, then `im repair`"
    return Fact(step="referenced", result="no", text=text, data=data)


def _skipped(expiries: Sequence[Expiry], place: SyncSeqId) -> str:
    if any(each.since == SKIPPED_SINCE and place <= each.newest for each in expiries):
        return "skipped: the person was inactive, so there is a skip note in place of rows"
    return ""


def indexed_fact(
    client: Elasticsearch, settings: Settings, conv_id: str, seq: SeqId, at: Milliseconds
) -> Fact:
    """Whether the index has the message.

    Raises:
        ServerUnavailable: Elasticsearch does not answer.
        ConfigurationError: Elasticsearch refuses the credentials.
    """
    generation = read_generation(client, settings).state.current
    index = index_name(settings, at, generation)
    with clear_failures(settings):
        try:
            found = client.get(index=index, id=document_id(conv_id, seq), routing=conv_id)
        except NotFoundError:
            text = f"index {index} has no document: see `im status`, `im dead-letter list`"
            return Fact(step="indexed", result="no", text=text, data={"index": index})
    source, version = found["_source"], found["_version"]
    data = {"index": index, "version": version}
    if not source.get("text"):
        text = f"the document is empty after the recall by entry {version}"
        return Fact(step="indexed", result="no", text=text, data=data)
    return Fact(
        step="indexed", result="yes", text=f"index {index} has the text of entry {version}",
        data=data,
    )  # fmt: skip


async def read_facts(
    store: Store, user: str, conv_id: str, seq: SeqId, synced: FoundSync | None
) -> list[Fact]:
    """The person's read mark, and the cursor of each device."""
    known = await store.read_mark(conv_id, user)
    mark = max(known.own.seq, known.marked)
    passed = "at or above" if mark >= seq else "below"
    text = f"the read mark is {mark}, {passed} this entry" if mark else "there is no read mark"
    data = {"own_message": known.own.seq, "marked": known.marked}
    facts = [Fact(step="read", result="yes" if mark >= seq else "no", text=text, data=data)]
    for each in await store.devices.devices(user):
        cursor = {"device_id": each.device_id, "cursor": each.cursor, "seen": each.seen}
        name = f"device {each.device_id}: cursor {each.cursor}, last reported {_moment(each.seen)}"
        if synced is None:
            facts.append(Fact(step="device", result="unknown", text=name, data=cursor))
            continue
        has_passed = each.cursor >= synced.sync_seq
        text = f"{name}; it {'has' if has_passed else 'has not'} passed the record"
        result: StepResult = "yes" if has_passed else "no"
        facts.append(Fact(step="device", result=result, text=text, data=cursor))
    if facts[-1].step != "device":
        text = "the person has no device that is registered at the gateway"
        facts.append(Fact(step="device", result="no", text=text))
    return facts


def _moment(at: Milliseconds) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S (UTC)", time.gmtime(at / 1000))
