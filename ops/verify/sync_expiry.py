"""The table ``sync_expiry`` against the rows in ``sync``: each of them has to be told of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from ops.verify.report import Report

ExpiryRow: TypeAlias = tuple[str, int]
"""(user_id, newest)."""


def compare_sync_expiries(
    reached: Mapping[str, int], rows: Iterable[ExpiryRow], report: Report
) -> None:
    """Compares what the table tells of each recipient with their rows.

    A row that it does not tell of would expire, and nobody could know that it had been there.

    Args:
        reached: By recipient, the highest sync SeqId that has a row.
        rows: The table, in any order.
        report: Where differences go.
    """
    counts = report.section("sync-store").counts
    told: dict[str, int] = {}
    for user, newest in rows:
        counts["expiries"] += 1
        told[user] = max(newest, told.get(user, -1))
    for user, sync_seq in reached.items():
        if told.get(user, -1) < sync_seq:
            where = f"table sync_expiry, sync_seq {sync_seq}"
            report.differ("sync-store", "missing", user=user, where=where)
