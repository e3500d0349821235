"""The tables ``message`` and ``conversation`` against the log."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, TypeAlias

from msgspec import Struct
from msgspec.json import Decoder

from audit.conversation import AuditedConversation
from audit.digests import ABSENT, audited_digest
from audit.log import Log
from audit.report import AuditReport
from audit.seen import Seen
from schemas.limits import MESSAGE_BUCKET

MessageRow: TypeAlias = tuple[
    str,
    int,
    int,
    str | None,
    str | None,
    int | None,
    bytes | None,
    int | None,
    int | None,
    int | None,
]
"""(conv_id, bucket, seq, kind, sender, at, entry, edited_by, recalled_by, messages)."""
ConversationRow: TypeAlias = tuple[
    str, int | None, str | None, str | None, str | None, str | None, int | None
]
"""(conv_id, head, owner, join_rule, mode, history_rule, messages)."""


class _Columns(Struct, frozen=True):
    kind: str
    sender: str
    at: int
    messages: int = 0


_columns = Decoder(_Columns)


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
    conv_id, bucket, seq, *_, edited_by, recalled_by, _ = row
    due, head = seen.due(conv_id, seq), log.head(conv_id)
    place: dict[str, Any] = {
        "conv_id": conv_id,
        "seq": seq,
        "where": f"table message, bucket {bucket}",
    }
    if bucket != seq // MESSAGE_BUCKET:
        report.differ("store", "misplaced", **place)
    elif seq > head:
        report.hold("store", partial(_is_right, log, row), **place)
    elif due == ABSENT:
        report.differ("store", "extra", **place)
    elif not seen.tick(conv_id, seq):
        report.differ("store", "double", **place)
    elif wrong := _what_is_wrong(log, row):
        if max(edited_by or 0, recalled_by or 0) > head:
            report.hold("store", partial(_is_right, log, row), "altered", **place, detail=wrong)
        else:
            report.differ("store", "altered", **place, detail=wrong)


def _is_right(log: Log, row: MessageRow) -> bool:
    return log.digest(row[0], row[2]) != ABSENT and not _what_is_wrong(log, row)


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
    columns = _Columns(kind or "", sender or "", at or 0, messages or 0)
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
        conv_id, head = row[0], row[1] or 0
        conversation = due.pop(conv_id, None)
        place: dict[str, Any] = {"conv_id": conv_id, "seq": head, "where": "table conversation"}
        if conversation is None or head > conversation.head:
            report.hold("store", partial(log.holds, conv_id, head, None), **place)
        elif (row := _with_rule(row)) != _as_row(conversation):
            report.differ("store", "altered", **place, detail=_disagreement(conversation, row))
    for conv_id in due:
        report.differ("store", "missing", conv_id=conv_id, where="table conversation")


def _with_rule(row: ConversationRow) -> ConversationRow:
    """The row with defaults for older rows: no history rule: since_join; no count: 0."""
    return (*row[:5], row[5] or "since_join", row[6] or 0)


def _as_row(conversation: AuditedConversation) -> ConversationRow:
    return (
        conversation.conv_id,
        conversation.head,
        conversation.owner,
        conversation.join,
        conversation.mode,
        conversation.history,
        conversation.messages or 0,
    )


def _disagreement(conversation: AuditedConversation, row: ConversationRow) -> str:
    names = ("conv_id", "head", "owner", "join_rule", "mode", "history_rule", "messages")
    pairs = zip(names, _as_row(conversation), row, strict=True)
    return ", ".join(
        f"{name} is {found}, the log says {due}" for name, due, found in pairs if due != found
    )
