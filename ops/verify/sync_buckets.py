"""The table ``sync_bucket`` against the buckets in which there are rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeAlias

from ops.verify.report import Report
from ops.verify.shards import OPTIONAL, Shard
from schemas.limits import SYNC_BUCKET

BucketRow: TypeAlias = tuple[str, int]
"""(user_id, bucket)."""


class Buckets:
    """Which buckets each recipient has rows in: one bit for each, from the oldest on.

    ``reached``: by recipient, the highest sync SeqId that has a row.

    Args:
        shards: All partitions of ``im.sync``.
    """

    def __init__(self, shards: Mapping[int, Shard]) -> None:
        self._shards = shards
        self._home = shards[0].home
        self._bits: dict[str, int] = {}
        self.reached: dict[str, int] = {}

    def shard(self, user: str) -> Shard:
        """Where this recipient's records are."""
        return self._shards[self._home(user)]

    def add(self, user: str, bucket: int) -> None:
        """Takes a bucket that is not older than the partition's oldest offset."""
        self._bits[user] = self._bits.get(user, 0) | 1 << bucket - self._oldest(user)

    def reach(self, user: str, sync_seq: int) -> None:
        """Takes the place of a row; of several of one bucket, the last is enough."""
        self.reached[user] = max(sync_seq, self.reached.get(user, -1))

    def discard(self, user: str, bucket: int) -> bool:
        """Takes a bucket away, and says whether it was there."""
        bits, at = self._bits.get(user, 0), bucket - self._oldest(user)
        if at < 0 or not bits >> at & 1:
            return False
        self._bits[user] = bits & ~(1 << at)
        return True

    def __iter__(self) -> Iterator[BucketRow]:
        for user, bits in self._bits.items():
            oldest = self._oldest(user)
            yield from ((user, oldest + at) for at in range(bits.bit_length()) if bits >> at & 1)

    def _oldest(self, user: str) -> int:
        return self.shard(user).low // SYNC_BUCKET


def compare_sync_buckets(buckets: Buckets, rows: Iterable[BucketRow], report: Report) -> None:
    """Compares the directory with what `compare_sync_rows` found.

    Args:
        buckets: Where there are rows; what the directory has is taken out of it.
        rows: The table, in any order.
        report: Where differences go.
    """
    counts = report.section("sync-store").counts
    for user, bucket in rows:
        counts["buckets"] += 1
        if not buckets.discard(user, bucket):
            _take_odd(buckets.shard(user), user, bucket, report)
    for user, bucket in buckets:
        report.differ("sync-store", "missing", **_place(user, bucket))


def _take_odd(shard: Shard, user: str, bucket: int, report: Report) -> None:
    """A bucket without rows: dropped by now, not yet looked at, or wrong."""
    first, end = bucket * SYNC_BUCKET, (bucket + 1) * SYNC_BUCKET
    if first >= shard.end:
        report.hold("sync-store", partial(shard.reaches, first), **_place(user, bucket))
    elif first < shard.low or _may_be_over(shard, first, end):
        report.section("sync-store").counts["empty buckets"] += 1
    else:
        report.differ("sync-store", "extra", **_place(user, bucket))


def _may_be_over(shard: Shard, first: int, end: int) -> bool:
    return shard.states.find(OPTIONAL, first - shard.low, end - shard.low) >= 0


def _place(user: str, bucket: int) -> dict[str, Any]:
    return {"user": user, "where": f"table sync_bucket, bucket {bucket}"}
