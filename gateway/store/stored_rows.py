"""Rows of Cassandra as values of `gateway.store.store_port`."""

from __future__ import annotations

from backends.cassandra.memberships import join_place
from backends.cassandra.tables import FIRST_MUTE_TIMESTAMP
from gateway.store.cassandra_queries import Rows
from gateway.store.store_port import ReadMark, StoredEntry, StoredMute, StoredRow
from schemas.number_types import NO_SEQ, SeqId, SyncSeqId
from schemas.records import HistoryRule
from schemas.unread import Counted
from schemas.visibility import MembershipChange


def changes_of(rows: Rows) -> list[MembershipChange]:
    """The joins and leaves in the rows of one person and conversation.

    See `backends.cassandra.memberships`.
    """
    changes: list[MembershipChange] = []
    joins: dict[int, SeqId] = {}
    leaves: list[tuple[int, MembershipChange]] = []
    for place, seq, since, joined, history, messages, at in rows:
        rule: HistoryRule = history or "since_join"
        change = MembershipChange(seq, joined, rule, messages or 0, at or 0)
        if not joined:
            leaves.append((place, change))
            continue
        joins[place] = seq
        if since < seq:
            changes.append(MembershipChange(since, joined=True, history=rule))
        changes.append(change)
    changes += [
        change
        for place, change in leaves
        if change.seq > joins.get(join_place(place // 2), change.seq)
    ]
    return sorted(changes)


def changes_by_conversation(rows: Rows) -> dict[str, list[MembershipChange]]:
    """The joins and leaves of one person. The first column of a row is the conversation's id."""
    of_conversation: dict[str, Rows] = {}
    for conv_id, *row in rows:
        of_conversation.setdefault(conv_id, []).append(tuple(row))
    return {conv_id: changes_of(of_one) for conv_id, of_one in of_conversation.items()}


def stored_sync_rows(rows: Rows) -> list[StoredRow]:
    """Rows of a sync timeline."""
    return [StoredRow(*row) for row in rows]


def read_mark_of(rows: Rows) -> ReadMark:
    """The read mark and the mute of one person and conversation, in one row or none."""
    for own_seq, own_messages, marked, muted_until, timestamp in rows:
        own, mute = Counted(own_seq or NO_SEQ, own_messages or 0), None
        if muted_until is not None:
            mute = StoredMute(muted_until, SyncSeqId(timestamp - FIRST_MUTE_TIMESTAMP))
        return ReadMark(own, marked or NO_SEQ, mute)
    return ReadMark()


def stored_entries(parts: list[Rows]) -> list[StoredEntry]:
    """The entries in the rows. A row without an entry (only with ``edited_by``) is skipped."""
    return [
        StoredEntry(seq, kind or "", json.encode(), edited_by, recalled_by is not None)
        for rows in parts
        for seq, kind, json, edited_by, recalled_by in rows
        if json is not None
    ]
