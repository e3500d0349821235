"""The table ``sync_expiry`` against the rows of ``sync``: it must cover each row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from ops.verify.report import Report
from ops.verify.shards import Shard

ExpiryRow: TypeAlias = tuple[str, int]
"""(user_id, newest)."""


def allow_skipped(shards: Iterable[Shard], notes: Iterable[ExpiryRow], report: Report) -> None:
    """Makes deliveries optional that the sync sink skipped because their recipient was inactive.

    A reader below a skip note gets `trimmed`, so a missing row up to the note is no difference.

    Args:
        shards: All shards, as `compare_sync_rows` left them.
        notes: The skip notes, in any order.
        report: Counts the notes.
    """
    newest = {user.encode(): sync_seq for user, sync_seq in notes}
    report.section("sync-store").counts["skip notes"] += len(newest)
    if not newest:
        return
    for shard in shards:
        first = shard.first_seq + shard.low
        places = {user: sync_seq - first for user, sync_seq in newest.items()}
        shard.deliveries.allow_missing({user: at for user, at in places.items() if at >= 0})


def compare_sync_expiries(
    reached: Mapping[str, int], rows: Iterable[ExpiryRow], report: Report
) -> None:
    """Compare each recipient's newest sync SeqId in the table with the recipient's rows.

    If the table does not cover a row, no reader can detect the expiry of that row.

    Args:
        reached: By recipient, the highest sync SeqId of a row.
        rows: The table, in any order.
        report: Receives the differences.
    """
    counts = report.section("sync-store").counts
    covered: dict[str, int] = {}
    for user, newest in rows:
        counts["expiries"] += 1
        covered[user] = max(newest, covered.get(user, -1))
    for user, sync_seq in reached.items():
        if covered.get(user, -1) < sync_seq:
            where = f"table sync_expiry, sync_seq {sync_seq}"
            report.differ("sync-store", "missing", user=user, where=where)
