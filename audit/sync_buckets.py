"""The table ``sync_bucket`` against the buckets that have rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, TypeAlias

from audit.report import AuditReport
from audit.sync_shards import AuditedShards, Shard
from schemas.limits import SYNC_BUCKET
from schemas.number_types import BucketNumber, EpochNumber, Offset, SyncSeqId
from schemas.sync_seq import epoch_of

BucketRow: TypeAlias = tuple[str, BucketNumber]
"""(user_id, bucket)."""


class Buckets:
    """The buckets of each recipient that have rows: a bit set for each epoch, oldest bucket first.

    ``reached``: by recipient, the highest sync SeqId of a row.

    Args:
        shards: All shards.
    """

    def __init__(self, shards: AuditedShards) -> None:
        self._shards = shards
        self._bits: dict[tuple[str, EpochNumber], int] = {}
        self.reached: dict[str, SyncSeqId] = {}

    def add(self, user: str, bucket: BucketNumber) -> None:
        """Add a bucket. It must not be older than its shard's oldest offset."""
        line = user, epoch_of_bucket(bucket)
        self._bits[line] = self._bits.get(line, 0) | 1 << bucket - self._oldest(*line)

    def reach(self, user: str, sync_seq: SyncSeqId) -> None:
        """Record the sync SeqId of a row. The last row of a bucket is enough."""
        self.reached[user] = max(sync_seq, self.reached.get(user, sync_seq))

    def discard(self, user: str, bucket: BucketNumber) -> bool:
        """Remove a bucket, and return whether it was present."""
        line = user, epoch_of_bucket(bucket)
        bits, at = self._bits.get(line, 0), bucket - self._oldest(*line)
        if at < 0 or not bits >> at & 1:
            return False
        self._bits[line] = bits & ~(1 << at)
        return True

    def take_odd(self, user: str, bucket: BucketNumber, report: AuditReport) -> None:
        """Classify a bucket without rows: expired, newer than the snapshot, or a difference."""
        epoch = epoch_of_bucket(bucket)
        shard = self._shards.of(user, epoch)
        if shard is None:
            newer = partial(self._shards.has_come, user, epoch)
            report.hold("sync-store", newer, **_place(user, bucket))
        else:
            _take_odd(shard, user, bucket, report)

    def __iter__(self) -> Iterator[BucketRow]:
        for (user, epoch), bits in self._bits.items():
            oldest = self._oldest(user, epoch)
            held = (at for at in range(bits.bit_length()) if bits >> at & 1)
            yield from ((user, BucketNumber(oldest + at)) for at in held)

    def _oldest(self, user: str, epoch: EpochNumber) -> int:
        shard = self._shards.of(user, epoch)
        return 0 if shard is None else (shard.first_seq + shard.low) // SYNC_BUCKET


def epoch_of_bucket(bucket: BucketNumber) -> EpochNumber:
    """The epoch of a bucket's rows. An epoch's first bucket begins in the epoch before."""
    return epoch_of(SyncSeqId((bucket + 1) * SYNC_BUCKET - 1))


def compare_sync_buckets(buckets: Buckets, rows: Iterable[BucketRow], report: AuditReport) -> None:
    """Compare the table with the buckets that `compare_sync_rows` found.

    Args:
        buckets: The buckets with rows. Buckets of the table are removed from it.
        rows: The table, in any order.
        report: Receives the differences.
    """
    counts = report.section("sync-store").counts
    for user, bucket in rows:
        counts["buckets"] += 1
        if not buckets.discard(user, bucket):
            buckets.take_odd(user, bucket, report)
    for user, bucket in buckets:
        report.differ("sync-store", "missing", **_place(user, bucket))


def _take_odd(shard: Shard, user: str, bucket: BucketNumber, report: AuditReport) -> None:
    first = max(0, bucket * SYNC_BUCKET - shard.first_seq)
    end = (bucket + 1) * SYNC_BUCKET - shard.first_seq
    if first >= shard.end:
        report.hold("sync-store", partial(shard.reaches, Offset(first)), **_place(user, bucket))
    elif first < shard.low or _may_be_over(shard, first, end):
        report.section("sync-store").counts["empty buckets"] += 1
    else:
        report.differ("sync-store", "extra", **_place(user, bucket))


def _may_be_over(shard: Shard, first: int, end: int) -> bool:
    return shard.deliveries.has_optional(first - shard.low, end - shard.low)


def _place(user: str, bucket: BucketNumber) -> dict[str, Any]:
    return {"user": user, "where": f"table sync_bucket, bucket {bucket}", "bucket": bucket}
