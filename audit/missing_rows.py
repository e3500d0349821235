"""The deliveries that no row of the table ``sync`` has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from audit.deliveries import DUE, OPTIONAL
from audit.report import AuditReport
from audit.sync_shards import Shard, SyncPosition
from schemas.number_types import Offset

NAMED_AT_ONCE: Final = 100
"""Missing deliveries of a shard whose records are read again, so that the report can name them."""


def report_missing_rows(
    shards: Iterable[Shard],
    read: Callable[[int, Sequence[Offset]], Mapping[Offset, SyncPosition | None]],
    report: AuditReport,
) -> None:
    """Report the deliveries that `compare_sync_rows` has not marked as seen.

    Args:
        shards: All shards.
        read: Reads records again. Takes a shard number and offsets.
        report: Receives the differences.
    """
    counts = report.section("sync-store").counts
    for shard in shards:
        missing = shard.deliveries.states.count(DUE)
        for place in _first_missing(shard, read, report):
            missing -= 1
            report.differ("sync-store", "missing", **place)
        if missing:
            report.differ("sync-store", "missing", records=missing, where=shard.name)
        counts["expired"] += shard.deliveries.states.count(OPTIONAL)


def _first_missing(
    shard: Shard,
    read: Callable[[int, Sequence[Offset]], Mapping[Offset, SyncPosition | None]],
    report: AuditReport,
) -> Iterator[dict[str, Any]]:
    wants = report.wants_names("sync-store", "missing")
    found = list(shard.deliveries.first_due(NAMED_AT_ONCE if wants else 0))
    offsets = [(Offset(place + shard.low), user) for place, user in found]
    positions = read(shard.number, sorted({offset for offset, _ in offsets}))
    for offset, user in offsets:
        position = positions.get(offset)
        if position is not None and report.wants_names("sync-store", "missing"):
            yield {
                "conv_id": position.conv_id,
                "seq": position.seq,
                "user": user.decode(),
                "where": f"{shard.name}@{offset}",
                "sync_seq": shard.first_seq + offset,
            }
