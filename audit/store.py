"""The tables ``message`` and ``conversation`` against the log."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Final, NamedTuple

from msgspec import Struct
from msgspec.json import Decoder

from audit.conversation import AuditedConversation
from audit.digests import ABSENT, audited_digest, description_digest
from audit.log import Log
from audit.report import AuditReport
from audit.seen import Seen
from schemas.buckets import message_bucket
from schemas.number_types import NO_SEQ, BucketNumber, Milliseconds, SeqId


class MessageRow(NamedTuple):
    """A row of the table ``message``."""

    conv_id: str
    bucket: BucketNumber
    seq: SeqId
    kind: str | None
    sender: str | None
    at: Milliseconds | None
    entry: bytes | None
    edited_by: SeqId | None
    recalled_by: SeqId | None
    messages: int | None


class ConversationRow(NamedTuple):
    """A row of the table ``conversation``."""

    conv_id: str
    head: SeqId | None = None
    owner: str | None = None
    join_rule: str | None = None
    mode: str | None = None
    history_rule: str | None = None
    messages: int | None = None
    at: Milliseconds | None = None
    member_count: int | None = None
    name: str | None = None
    metadata: str | None = None


class _ConversationState(NamedTuple):
    """The values of a row that the audit compares; a name and metadata by their digests."""

    head: SeqId
    owner: str | None
    join_rule: str | None
    mode: str | None
    history_rule: str | None
    messages: int
    at: Milliseconds
    member_count: int | None
    name: int
    metadata: int


class _Columns(Struct, frozen=True):
    kind: str
    sender: str
    at: Milliseconds
    messages: int = 0


_columns = Decoder(_Columns)

_UNQUOTED: Final = frozenset({"name", "metadata"})
"""Columns that no detail of a difference quotes."""


def compare_messages(log: Log, rows: Iterable[MessageRow], report: AuditReport) -> None:
    """Compare the table ``message`` with the log: every entry once, byte for byte.

    The row of a recalled entry must have an empty text and the SeqId of the recall.

    Args:
        log: All of ``im.timeline``.
        rows: The table, in any order.
        report: Receives the differences.
    """
    seen = Seen(log, lambda conversation: conversation.digests)
    counts = report.section("store").counts
    for row in rows:
        counts["rows"] += 1
        _compare_message(log, seen, row, report)
    for conv_id, seq in seen.missing():
        report.differ("store", "missing", conv_id=conv_id, seq=seq, where="table message")


def _compare_message(log: Log, seen: Seen, row: MessageRow, report: AuditReport) -> None:
    conv_id, seq = row.conv_id, row.seq
    due, head = seen.due(conv_id, seq), log.head(conv_id)
    place: dict[str, Any] = {
        "conv_id": conv_id,
        "seq": seq,
        "where": f"table message, bucket {row.bucket}",
    }
    if row.bucket != message_bucket(seq):
        report.differ("store", "misplaced", **place)
    elif seq > head:
        report.hold("store", partial(_is_right, log, row), **place)
    elif due == ABSENT:
        report.differ("store", "extra", **place)
    elif not seen.tick(conv_id, seq):
        report.differ("store", "double", **place)
    elif wrong := _what_is_wrong(log, row):
        if max(row.edited_by or 0, row.recalled_by or 0) > head:
            report.hold("store", partial(_is_right, log, row), "altered", **place, detail=wrong)
        else:
            absent = _is_absent(log, row)
            report.differ("store", "altered", **place, detail=wrong, absent=absent)


def _is_absent(log: Log, row: MessageRow) -> bool:
    """Whether a wrong row only lacks the message, its last edit, or its recall."""
    if row.kind is None and not row.entry:
        return True
    conversation = log.conversations[row.conv_id]
    recall, edit = conversation.recalled.get(row.seq), conversation.edited_by(row.seq)
    is_erased = recall is not None and row.recalled_by == recall and not row.entry
    if not is_erased and audited_digest(row.entry or b"") != conversation.digests[row.seq - 1]:
        return False
    lacks_recall = recall is not None and row.recalled_by is None
    return lacks_recall or (row.edited_by or 0) < (edit or 0)


def _is_right(log: Log, row: MessageRow) -> bool:
    return log.digest(row.conv_id, row.seq) != ABSENT and not _what_is_wrong(log, row)


def _what_is_wrong(log: Log, row: MessageRow) -> str:
    """A description of the difference; empty if the row matches the log."""
    conv_id, _, seq, kind, sender, at, entry, edited_by, recalled_by, messages = row
    conversation = log.conversations[conv_id]
    recall, edit = conversation.recalled.get(seq), conversation.edited_by(seq)
    if recall is not None and entry:
        return "it still has a text after its recall"
    if recall is None and audited_digest(entry or b"") != conversation.digests[seq - 1]:
        return "the bytes differ from the log"
    if (edited_by, recalled_by) != (edit, recall):
        return (
            f"edited by {edited_by}, recalled by {recalled_by}; the log says {edit} and {recall}"
        )
    columns = _Columns(kind or "", sender or "", at or Milliseconds(0), messages or 0)
    if entry and _columns.decode(entry) != columns:
        return "the columns differ from the entry"
    return ""


def compare_conversations(log: Log, rows: Iterable[ConversationRow], report: AuditReport) -> None:
    """Compare the table ``conversation`` with the state of each conversation in the log.

    Args:
        log: All of ``im.timeline``.
        rows: The table, in any order.
        report: Receives the differences.
    """
    due = dict(log.conversations)
    counts = report.section("store").counts
    for row in rows:
        counts["conversations"] += 1
        conv_id, head = row.conv_id, row.head or NO_SEQ
        conversation = due.pop(conv_id, None)
        place: dict[str, Any] = {"conv_id": conv_id, "seq": head, "where": "table conversation"}
        if conversation is None or head > conversation.head:
            report.hold("store", partial(log.holds, conv_id, head, None), **place)
        elif detail := _disagreement(_state_of(conversation), _state_in(row, conversation)):
            absent = _is_incomplete(conversation, row)
            report.differ("store", "altered", **place, detail=detail, absent=absent)
    for conv_id in due:
        report.differ("store", "missing", conv_id=conv_id, where="table conversation")


def _state_in(row: ConversationRow, conversation: AuditedConversation) -> _ConversationState:
    """The state in a row. A row of an earlier version has no history rule, count or time."""
    return _ConversationState(
        head=row.head or NO_SEQ,
        owner=row.owner,
        join_rule=row.join_rule,
        mode=row.mode,
        history_rule=row.history_rule or "since_join",
        messages=row.messages or 0,
        at=Milliseconds(conversation.times[-1]) if row.at is None else row.at,
        member_count=row.member_count,
        name=description_digest(row.name or ""),
        metadata=description_digest(row.metadata or ""),
    )


def _is_incomplete(conversation: AuditedConversation, row: ConversationRow) -> bool:
    """Whether each column of a wrong row has the right value, none, or that of an older head."""
    due, found = _state_of(conversation), _state_in(row, conversation)
    wrong = [name for name in due._fields if getattr(due, name) != getattr(found, name)]
    with_head = {"head", "messages", "at"} if found.head < due.head else set()
    return all(getattr(row, name) is None or name in with_head for name in wrong)


def _state_of(conversation: AuditedConversation) -> _ConversationState:
    return _ConversationState(
        head=conversation.head,
        owner=conversation.owner,
        join_rule=conversation.join,
        mode=conversation.mode,
        history_rule=conversation.history,
        messages=conversation.messages or 0,
        at=Milliseconds(conversation.times[-1]),
        member_count=conversation.member_count,
        name=conversation.name,
        metadata=conversation.metadata,
    )


def _disagreement(due: _ConversationState, found: _ConversationState) -> str:
    """The differences of two states; empty without a difference."""
    pairs = zip(_ConversationState._fields, due, found, strict=True)
    return ", ".join(
        f"{column} differs" if column in _UNQUOTED else f"{column} is {has}, the log says {should}"
        for column, should, has in pairs
        if should != has
    )
