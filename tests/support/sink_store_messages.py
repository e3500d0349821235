"""The store of the message sink, with its expected content."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from cassandra.cluster import Session
from cassandra.query import ValueSequence

from backends.cassandra.memberships import user_bucket
from schemas.codec import decode_entry, encode
from schemas.limits import MEMBER_BUCKETS, MESSAGE_BUCKET
from schemas.number_types import Offset
from schemas.records import (
    AnyEntry,
    ConversationCreated,
    FanoutChanged,
    MembersAdded,
    MembersRemoved,
    MessageEdited,
    MessageRecalled,
    MessageSent,
)
from sinks.base.records import Record
from sinks.cassandra.messages import MessageWriter
from tests.support.sink_stores import (
    TOO_LONG_FOR_A_KEY,
    Contents,
    Conversation,
    _described,
    on_log,
)

_HAVE_A_MODE: Final = (ConversationCreated, MembersAdded, MembersRemoved, FanoutChanged)


class MessageStore:
    """Conversation timelines in Cassandra."""

    def __init__(self, session: Session) -> None:
        self._session = session
        own = secrets.token_hex(4)
        self._conversations = [Conversation(f"{own} {name}") for name in ("a", "[b]")]

    def writer(self) -> MessageWriter:
        return MessageWriter(self._session)

    def good(self) -> list[Record]:
        entries = [each.history() for each in self._conversations]
        mixed = [entry for several in zip(*entries, strict=True) for entry in several]
        return [on_log(entry, offset) for offset, entry in enumerate(mixed)]

    def bad(self) -> list[Record]:
        known = self._conversations[0]
        refused = MembersAdded(**known.common(8), members=[TOO_LONG_FOR_A_KEY], mode="push")
        return [
            Record(3, Offset(900), b"key", None),
            Record(3, Offset(901), b"key", b"\xff"),
            Record(3, Offset(902), b"key", b'{"kind":"unheard_of"}'),
            on_log(known.said(0, "hush"), 903),
            on_log(known.said(1 << 62, "hush"), 904),
            on_log(Conversation(TOO_LONG_FOR_A_KEY).said(1, "hush"), 905),
            on_log(refused, 907),
            on_log(msgspec.structs.replace(known.said(9, "hush"), sender=TOO_LONG_FOR_A_KEY), 908),
            Record(3, Offset(906), b"key", encode(known.said(9, "hush"))[:-1] + b',"new":"\xff"}'),
        ]

    def expected(self, records: Iterable[Record]) -> Contents:
        logged = [(decode_entry(r.value), (r.value or b"").decode()) for r in records]
        return {
            each.conv_id: _conversation(
                [item for item in logged if item[0].conv_id == each.conv_id]
            )
            for each in self._conversations
        }

    def contents(self) -> Contents:
        return {each.conv_id: self._read(each.conv_id) for each in self._conversations}

    def _read(self, conv_id: str) -> Contents:
        rows = self._session.execute
        state = rows(
            "SELECT head, messages, owner, join_rule, mode, history_rule, at, member_count, name, "
            "metadata FROM conversation WHERE conv_id = %s",
            (conv_id,),
        ).one()
        messages = [
            row
            for bucket in (0, 1)
            for row in rows(
                "SELECT bucket, seq, kind, sender, at, entry, edited_by, recalled_by, messages "
                "FROM message WHERE conv_id = %s AND bucket = %s", (conv_id, bucket),
            )
        ]  # fmt: skip
        by_conversation = rows(
            "SELECT user_id, seq, joined, history_rule, at FROM membership_by_conversation "
            "WHERE conv_id = %s AND bucket IN %s",
            (conv_id, ValueSequence(range(MEMBER_BUCKETS))),
        )
        by_user = [
            (user, *row)
            for user in ("ann", "bob", "cid", "陈")
            for row in rows(
                "SELECT seq, joined, history_rule, messages, at FROM membership_by_user "
                "WHERE user_id = %s AND bucket = %s AND conv_id = %s",
                (user, user_bucket(conv_id), conv_id),
            )
        ]
        return {
            "state": state and tuple(state),
            "messages": messages,
            "by_conversation": sorted(by_conversation),
            "by_user": sorted(by_user),
            "marks": sorted(rows("SELECT user_id, own_seq, own_messages, read_seq FROM read_mark "
                                 "WHERE conv_id = %s ALLOW FILTERING", (conv_id,))),
        }  # fmt: skip


def _conversation(logged: list[tuple[AnyEntry, str]]) -> Contents:
    """The expected rows for one conversation, computed from the rules, not as the writer does."""
    logged = sorted(logged, key=lambda item: item[0].seq)
    ordered = [entry for entry, _ in logged]
    modes = [entry.mode for entry in ordered if isinstance(entry, _HAVE_A_MODE)]
    created = [entry for entry in ordered if isinstance(entry, ConversationCreated)]
    changes = [
        (
            user,
            entry.seq,
            *((False, None) if isinstance(entry, MembersRemoved) else (True, entry.history)),
            entry.at,
        )
        for entry in ordered
        if isinstance(entry, ConversationCreated | MembersAdded | MembersRemoved)
        for user in entry.members
    ]
    made = created[0] if created else None
    owner, join, rule = (made.sender, made.join, made.history) if made else (None, None, None)
    mode = modes[-1] if modes else None
    last = ordered[-1] if ordered else None
    counts = {entry.seq: (entry.messages, entry.at) for entry in ordered}
    spoken = {e.sender: (e.seq, e.messages) for e in ordered if isinstance(e, MessageSent)}
    return {
        "state": (
            (last.seq, last.messages, owner, join, mode, rule, last.at, *_described(ordered))
            if last
            else None
        ),
        "messages": _messages(logged),
        "by_conversation": sorted({change[0]: change for change in changes}.values()),
        "by_user": sorted((*change, *counts[change[1]]) for change in _last_of_each(ordered)),
        "marks": sorted((user, *place, None) for user, place in spoken.items()),
    }


def _last_of_each(ordered: list[AnyEntry]) -> list[tuple[Any, ...]]:
    """The changes in the table by user: the last join and the last leave of each period."""
    rows: dict[tuple[str, int, bool], tuple[Any, ...]] = {}
    for entry in ordered:
        if isinstance(entry, ConversationCreated | MembersAdded | MembersRemoved):
            joined = not isinstance(entry, MembersRemoved)
            for user in entry.members:
                rule = None if isinstance(entry, MembersRemoved) else entry.history
                rows[user, 0, joined] = (user, entry.seq, joined, rule)
    return list(rows.values())


def _messages(logged: list[tuple[AnyEntry, str]]) -> list[tuple[Any, ...]]:
    """The expected rows; a row that only an alteration wrote lacks the sent columns."""
    rows: dict[int, list[Any]] = {
        e.seq: [kind_of(e), e.sender, e.at, text, None, None, e.messages] for e, text in logged
    }
    for entry, _ in logged:
        if isinstance(entry, MessageEdited):
            row = rows.setdefault(entry.target, [None] * 7)
            row[4] = max(entry.seq, row[4] or 0)
        elif isinstance(entry, MessageRecalled):
            for seq in (entry.target, *entry.edits):
                row = rows.setdefault(seq, [None] * 7)
                row[3], row[5] = "", entry.seq
    return [(seq // MESSAGE_BUCKET, seq, *rows[seq]) for seq in sorted(rows)]


def kind_of(entry: AnyEntry) -> str:
    """The ``kind`` of an entry's JSON."""
    return str(msgspec.to_builtins(entry)["kind"])
