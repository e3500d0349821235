"""The two tables of membership against the log: joins and leaves, with their SeqIds.

The table by user has the last join and the last leave of each period, the table by conversation
the last change of each person.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Final, NamedTuple

from audit.checks import run_check
from audit.log import Log
from audit.numbered import NumberedPeriods
from audit.report import AuditReport
from backends.cassandra.memberships import member_bucket, user_bucket
from schemas.number_types import BucketNumber, Milliseconds, SeqId
from schemas.records import HistoryRule


class MembershipRow(NamedTuple):
    """A row of one of the two tables. Only the table by user has ``messages``."""

    user_id: str
    conv_id: str
    seq: SeqId
    joined: bool | None
    history_rule: str | None
    bucket: BucketNumber
    messages: int | None = None
    at: Milliseconds | None = None


_WITHOUT: Final[HistoryRule] = "since_join"
"""Meaning of a row without a rule: a leave, or a row written before the column existed."""


def compare_membership(
    log: Log, table: str, rows: Iterable[MembershipRow], report: AuditReport
) -> None:
    """Compare one of the tables with the changes in the log.

    Args:
        log: All of ``im.timeline``.
        table: The name of the table.
        rows: The table, in any order.
        report: Receives the differences.
    """
    run_check(_Check(log, table, report), rows)


_ALL_CHANGES: Final = -1
"""One bit for each change, all set."""


class _Check:
    def __init__(self, log: Log, table: str, report: AuditReport) -> None:
        self._log = log
        self._where = f"table {table}"
        self._is_by_user = table == "membership_by_user"
        self._report = report
        # One bit for each change of a person in a conversation.
        self._seen: dict[tuple[str, str], int] = {}

    def take(self, row: MembershipRow) -> None:
        user, conv_id, seq, joined, rule, bucket, messages, time = row
        self._report.section("membership").counts["rows"] += 1
        place = self._place(user, conv_id, seq)
        changes = self._changes(user, conv_id)
        at = next((at for at, change in enumerate(changes) if change[0] == seq), None)
        if bucket != self._bucket(user, conv_id):
            self._report.differ("membership", "misplaced", **place, detail=f"bucket {bucket}")
        elif seq > self._log.head(conv_id):
            newer = partial(self._log.holds, conv_id, seq, None)
            self._report.hold("membership", newer, **place)
            if not self._is_by_user:
                # The newer change has replaced the row of the last change in the log.
                self._seen[user, conv_id] = _ALL_CHANGES
        elif at is None:
            self._report.differ("membership", "extra", **place)
        elif self._tick(user, conv_id, at):
            self._report.differ("membership", "double", **place)
        elif changes[at][1] != joined:
            self._report.differ("membership", "altered", **place, detail=f"joined is {joined}")
        elif (rule or _WITHOUT) != (due := self._rule(conv_id) if joined else _WITHOUT):
            detail = f"history_rule is {rule}, the log says {due}"
            self._report.differ("membership", "altered", **place, detail=detail)
        elif self._is_by_user and (messages or 0) != (due_count := self._count(conv_id, seq)):
            detail = f"messages is {messages}, the log says {due_count}"
            self._report.differ("membership", "altered", **place, detail=detail)
        elif time not in (None, due_time := self._time(conv_id, seq)):
            detail = f"at is {time}, the log says {due_time}"
            self._report.differ("membership", "altered", **place, detail=detail)

    def finish(self) -> None:
        """Report the changes without a row."""
        for conv_id, conversation in self._log.conversations.items():
            for user, changes in conversation.changes.items():
                seen = self._seen.get((user, conv_id), 0)
                due = NumberedPeriods(changes).stored() if self._is_by_user else {changes[-1][0]}
                for at, (seq, _) in enumerate(changes):
                    if seq in due and not seen >> at & 1:
                        place = self._place(user, conv_id, seq)
                        self._report.differ("membership", "missing", **place)

    def _changes(self, user: str, conv_id: str) -> list[tuple[SeqId, bool]]:
        conversation = self._log.conversations.get(conv_id)
        return [] if conversation is None else conversation.changes.get(user, [])

    def _bucket(self, user: str, conv_id: str) -> BucketNumber:
        return user_bucket(conv_id) if self._is_by_user else member_bucket(user)

    def _rule(self, conv_id: str) -> HistoryRule:
        return self._log.conversations[conv_id].history

    def _count(self, conv_id: str, seq: SeqId) -> int:
        return self._log.conversations[conv_id].counts[seq]

    def _time(self, conv_id: str, seq: SeqId) -> int:
        return self._log.conversations[conv_id].times[seq - 1]

    def _tick(self, user: str, conv_id: str, at: int) -> bool:
        """Record a change, and return whether it was recorded before."""
        seen = self._seen.get((user, conv_id), 0)
        self._seen[user, conv_id] = seen | 1 << at
        return bool(seen >> at & 1)

    def _place(self, user: str, conv_id: str, seq: SeqId) -> dict[str, Any]:
        return {"user": user, "conv_id": conv_id, "seq": seq, "where": self._where}
