"""The table ``sync`` against the records of ``im.sync``."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

from ops.verify.conversation import digest_of
from ops.verify.log import Log
from ops.verify.report import Report
from ops.verify.shards import (
    DUE,
    NOTHING,
    OPTIONAL,
    SEEN,
    Shard,
    Shards,
    position_of,
    record_digest,
)
from ops.verify.sync_buckets import Buckets, epoch_of_bucket
from schemas.codec import encode
from schemas.limits import SYNC_BUCKET
from schemas.records import RecalledHole
from schemas.sync_seq import unpack_sync_seq

SyncRow: TypeAlias = tuple[str, int, int, str | None, int | None, bytes | None]
"""(user_id, bucket, sync_seq, conv_id, seq, record)."""

NAMED_AT_ONCE = 100
"""Records that are read again together to be named."""


_NO_DIGESTS: Final = array("I")


class RecordName(NamedTuple):
    """Whose record it is, and which entry; ``seq`` is 0 where it has none."""

    user: str
    conv_id: str = ""
    seq: int = 0


def compare_sync_rows(
    log: Log, shards: Shards, rows: Iterable[SyncRow], report: Report
) -> Buckets:
    """Ticks off each row at the place of its record; what is not as there is a difference.

    Args:
        log: All of ``im.timeline``.
        shards: All that there are, as `compare_sync_log` filled them.
        rows: The table, in any order.
        report: Where differences go.

    Returns:
        The buckets in which there are rows, those of misplaced ones left out.
    """
    check = _Check(log, shards, report)
    check.read(rows)
    return check.buckets


def report_missing_rows(
    shards: Iterable[Shard],
    name: Callable[[int, Sequence[int]], Mapping[int, RecordName]],
    report: Report,
) -> None:
    """Names what `compare_sync_rows` has not ticked off.

    Args:
        shards: All that there are.
        name: Reads the records at some offsets of a shard again, which it gets by its number.
        report: Where differences go.
    """
    counts = report.section("sync-store").counts
    for shard in shards:
        missing = shard.states.count(DUE)
        for offset, found in name(shard.number, _first_missing(shard, report)).items():
            missing -= 1
            where = f"{shard.name}@{offset}"
            report.differ("sync-store", "missing", **found._asdict(), where=where)
        if missing:
            where = shard.name
            report.differ("sync-store", "missing", records=missing, where=where)
        counts["expired"] += shard.states.count(OPTIONAL)


def _first_missing(shard: Shard, report: Report) -> list[int]:
    found: list[int] = []
    at = shard.states.find(DUE)
    while at >= 0 and len(found) < NAMED_AT_ONCE and report.wants_names("sync-store", "missing"):
        found.append(at + shard.low)
        at = shard.states.find(DUE, at + 1)
    return found


class _Check:
    def __init__(self, log: Log, shards: Shards, report: Report) -> None:
        self._log = log
        self._shards = shards
        self._report = report
        self.buckets = Buckets(shards)

    def read(self, rows: Iterable[SyncRow]) -> None:
        """Takes the rows. Runs once for each, so the ordinary way calls little."""
        digest_in_log = self._log.stored_digest
        count = 0
        last_user, last_bucket, noted, last = "", -1, False, -1
        key, digests, states, low, size = b"", _NO_DIGESTS, bytearray(), 0, 0
        for row in rows:
            count += 1
            user, bucket, sync_seq, conv_id, seq, record = row
            if user != last_user or bucket != last_bucket:
                self._end_bucket(last_user, last)
                last_user, last_bucket, noted, last = user, bucket, False, -1
                key, shard = user.encode(), self._shards.of(user, epoch_of_bucket(bucket))
                size = 0 if shard is None else shard.size
                if shard is not None:
                    digests, states, low = shard.digests, shard.states, shard.first_seq + shard.low
            at = sync_seq - low
            digest = digest_of(record or b"")
            if (
                0 <= at < size
                and NOTHING < states[at] < SEEN
                and digests[at] == record_digest(key, digest)
                and sync_seq // SYNC_BUCKET == bucket
                and digest_in_log(conv_id or "", seq or 0) == digest
            ):
                states[at] = SEEN
                last = sync_seq
            elif not self._take_odd(row):
                continue
            if not noted:
                noted = True
                self.buckets.add(user, bucket)
        self._end_bucket(last_user, last)
        self._report.section("sync-store").counts["rows"] += count

    def _end_bucket(self, user: str, last: int) -> None:
        if last >= 0:
            self.buckets.reach(user, last)

    def _take_odd(self, row: SyncRow) -> bool:
        """Looks closer at a row, and says whether it lies where there is a record."""
        user, bucket, sync_seq, conv_id, seq, _ = row
        epoch, offset = unpack_sync_seq(sync_seq)
        shard = self._shards.of(user, epoch)
        place: dict[str, Any] = {
            "conv_id": conv_id or "",
            "seq": seq or 0,
            "user": user,
            "where": f"table sync, bucket {bucket}, sync_seq {sync_seq}",
        }
        if shard is None and bucket == sync_seq // SYNC_BUCKET:
            newer = partial(self._shards.has_come, user, epoch)
            self._report.hold("sync-store", newer, kind="misplaced", **place)
        elif shard is None or bucket != sync_seq // SYNC_BUCKET:
            self._report.differ("sync-store", "misplaced", **place)
        elif offset < shard.low:
            # Kafka drops whole segments, Cassandra single rows: either may be first.
            self._report.section("sync-store").counts["no longer in im.sync"] += 1
        elif offset >= shard.end:
            self._report.hold("sync-store", partial(shard.reaches, offset), **place)
        elif shard.states[offset - shard.low] == NOTHING:
            self._report.differ("sync-store", "extra", **place)
        else:
            self._take_placed(shard, row, place)
            return True
        return False

    def _take_placed(self, shard: Shard, row: SyncRow, place: dict[str, Any]) -> None:
        user, _, sync_seq, conv_id, seq, record = row
        at = sync_seq - shard.first_seq - shard.low
        twice = shard.states[at] == SEEN
        shard.states[at] = SEEN
        position = position_of(record)
        digest = digest_of(record or b"")
        is_hole = partial(self._is_hole, shard, row)
        if twice:
            self._report.differ("sync-store", "double", **place)
        elif record == _hole(conv_id or "", seq or 0):
            self.buckets.reach(user, sync_seq)
            if not is_hole():
                detail = "a hole, where nothing was recalled"
                self._report.hold("sync-store", is_hole, "altered", **place, detail=detail)
        elif shard.digests[at] != record_digest(user.encode(), digest):
            detail = "not the record of im.sync at that offset"
            self._report.differ("sync-store", "altered", **place, detail=detail)
        elif self._is_recalled_text(conv_id or "", seq or 0, digest):
            detail = "its text is there after its recall"
            self._report.differ("sync-store", "altered", **place, detail=detail)
        elif position is None or (position.conv_id, position.seq) != (conv_id, seq or 0):
            detail = "the columns are not those of the record"
            self._report.differ("sync-store", "altered", **place, detail=detail)
        else:  # a reply
            self.buckets.reach(user, sync_seq)

    def _is_hole(self, shard: Shard, row: SyncRow) -> bool:
        """Whether a row has to be a hole: its record is an entry that was recalled."""
        user, _, sync_seq, conv_id, seq, _ = row
        entry = self._log.digest(conv_id or "", seq or 0)
        due = record_digest(user.encode(), entry)
        at = sync_seq - shard.first_seq - shard.low
        return shard.digests[at] == due and self._log.is_recalled(conv_id or "", seq or 0)

    def _is_recalled_text(self, conv_id: str, seq: int, digest: int) -> bool:
        return digest == self._log.digest(conv_id, seq) and self._log.is_recalled(conv_id, seq)


def _hole(conv_id: str, seq: int) -> bytes:
    return encode(RecalledHole(conv_id=conv_id, seq=seq))
