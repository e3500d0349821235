"""The table ``read_mark`` against people's messages, the marks of their devices, and mutes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Final, NamedTuple

from audit.checks import run_check
from audit.inline_records import MUTED, READ_MARKED
from audit.log import KafkaRecord, Log
from audit.report import AuditReport, DifferenceKind
from audit.sync_shards import AuditedShards, Shard, position_of
from schemas.number_types import NO_SEQ, Milliseconds, SeqId
from schemas.recipients import recipients_of


class ReadMarkRow(NamedTuple):
    """A row of the table ``read_mark``."""

    conv_id: str
    user_id: str
    own_seq: SeqId | None
    own_messages: int | None
    read_seq: SeqId | None
    muted_until: Milliseconds | None


_NOTHING: Final = (None, None)


def take_marks(shard: Shard, records: Iterable[KafkaRecord]) -> None:
    """Process the read marks and mutes behind the audited offsets of a shard."""
    for _, _, key, value in records:
        position = position_of(value)
        if position is not None and position.kind in {READ_MARKED, MUTED}:
            for user in recipients_of(key or b""):
                shard.take_newer_mark(position, user.decode(errors="replace"))


def compare_marks(
    log: Log, shards: AuditedShards, rows: Iterable[ReadMarkRow], report: AuditReport
) -> None:
    """Compare both kinds of marks and the mutes, each with its own source.

    Args:
        log: All of ``im.timeline``: each person's last message.
        shards: All shards, with the marks and mutes of each person.
        rows: The table, in any order.
        report: Receives the differences.
    """
    run_check(_Check(log, shards, report), rows)


class _Check:
    def __init__(self, log: Log, shards: AuditedShards, report: AuditReport) -> None:
        self._log = log
        self._shards = shards
        self._report = report
        self._seen: set[tuple[str, str]] = set()

    def take(self, row: ReadMarkRow) -> None:
        conv_id, user, own_seq, own_messages, marked, muted_until = row
        self._report.section("marks").counts["rows"] += 1
        self._seen.add((conv_id, user))
        self._take_own(conv_id, user, own_seq, own_messages)
        self._take_marked(conv_id, user, marked)
        self._take_muted(conv_id, user, muted_until)

    def finish(self) -> None:
        """Report marks without a row."""
        for conv_id, conversation in self._log.conversations.items():
            for user, (seq, _) in conversation.own.items():
                self._miss(conv_id, user, seq)
        for shard in self._shards.by_number.values():
            for (conv_id, user), seq in shard.marks.items():
                self._miss(conv_id, user, seq)
            for conv_id, user in shard.mutes:
                self._miss(conv_id, user, NO_SEQ)

    def _miss(self, conv_id: str, user: str, seq: SeqId) -> None:
        if (conv_id, user) not in self._seen:
            self._report.differ("marks", "missing", **_place(conv_id, user, seq))

    def _take_own(self, conv_id: str, user: str, seq: SeqId | None, messages: int | None) -> None:
        conversation = self._log.conversations.get(conv_id)
        due = _NOTHING if conversation is None else conversation.own.get(user, _NOTHING)
        place = _place(conv_id, user, seq or due[0] or NO_SEQ)
        if (seq, messages) == due:
            return
        if seq is None:
            self._report.differ("marks", "missing", **place, detail="their own last message")
        elif seq > self._log.head(conv_id):
            newer = partial(self._log.holds, conv_id, seq, None)
            self._report.hold("marks", newer, **place)
        elif due == _NOTHING:
            self._report.differ("marks", "extra", **place, detail="they never sent a message")
        else:
            detail = f"own message {seq} of {messages}, the log says {due[0]} of {due[1]}"
            is_older = due[0] is not None and seq < due[0]
            self._report.differ("marks", "altered", **place, detail=detail, absent=is_older)

    def _take_marked(self, conv_id: str, user: str, seq: SeqId | None) -> None:
        chain = self._shards.chain(user)
        marks = [shard.marks.get((conv_id, user)) for shard in chain]
        due = max((mark for mark in marks if mark is not None), default=None)
        place = _place(conv_id, user, seq or due or NO_SEQ)
        if seq == due:
            return
        if seq is None:
            self._report.differ("marks", "missing", **place, detail="their marked SeqId")
        elif due is not None and seq < due:
            detail = f"read up to {seq}, the sync timeline says {due}"
            self._report.differ("marks", "altered", **place, detail=detail, absent=True)
        elif any(shard.low > 0 for shard in chain) and seq <= self._log.head(conv_id):
            # Retention removed the record that would confirm the mark.
            self._report.section("marks").counts["marked before the retained records"] += 1
        else:
            newer = partial(self._shards.has_marked, conv_id, user, seq)
            self._report.hold("marks", newer, **place)

    def _take_muted(self, conv_id: str, user: str, until: Milliseconds | None) -> None:
        due = self._shards.muted_until(conv_id, user)
        place = _place(conv_id, user, NO_SEQ)
        if until == due:
            return
        if until is None:
            self._report.differ("marks", "missing", **place, detail="their mute")
        elif due is None and any(shard.low > 0 for shard in self._shards.chain(user)):
            # Retention removed the record that would confirm the mute.
            self._report.section("marks").counts["muted before the retained records"] += 1
        else:
            newer = partial(self._shards.has_newer_mute, conv_id, user, until)
            detail = f"muted until {until}, the sync timeline says {due}"
            kind: DifferenceKind = "extra" if due is None else "altered"
            self._report.hold("marks", newer, kind, **place, detail=detail)


def _place(conv_id: str, user: str, seq: SeqId) -> dict[str, Any]:
    return {"conv_id": conv_id, "user": user, "seq": seq, "where": "table read_mark"}
