"""The table ``sync`` against the deliveries of ``im.sync``.

A reader after a cursor reads the rows of its recipient in the order of their keys and takes, from
each row, the references above the last one taken. So a delivery must be in the first row whose key
is not below the sync SeqId of the delivery. Rows may overlap: a replay writes deliveries again, in
rows of other lengths.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from audit.deliveries import DUE, NO_KEY, SEEN, Deliveries
from audit.digests import audited_digest
from audit.inline_records import INLINE
from audit.log import Log
from audit.report import AuditReport, DifferenceKind
from audit.sync_buckets import Buckets, epoch_of_bucket
from audit.sync_shards import AuditedShards, Shard, position_of
from schemas.buckets import sync_bucket
from schemas.limits import SYNC_BUCKET
from schemas.number_types import NO_SEQ, BucketNumber, Offset, SeqId, SyncSeqId
from schemas.sync_rows import SyncRow


class AuditedSyncRow(NamedTuple):
    """A row of the table ``sync``."""

    user_id: str
    bucket: BucketNumber
    sync_seq: SyncSeqId
    records: bytes | None


MAX_REFERENCES: Final = 100
"""Maximum records in one row: a reader of one record reads the whole row."""

_NO_DIGESTS: Final = array("I")


class _Content(SyncRow, forbid_unknown_fields=True):
    """A row without any other field: an unknown field could hold a text."""


_decode: Final = msgspec.json.Decoder(_Content).decode


class _Held(NamedTuple):
    """A record in a row: a reference, or a record without an entry.

    Attributes:
        sync_seq: The sync SeqId.
        conv_id: The conversation.
        seq: The SeqId of the record's entry. For a record without an entry: the SeqId in the
            record, or 0.
        digest: The expected value in `Deliveries.digests`.
        is_text: The row holds an entry where only a reference is allowed.
    """

    sync_seq: SyncSeqId
    conv_id: str
    seq: SeqId
    digest: int
    is_text: bool = False


def compare_sync_rows(
    log: Log, shards: AuditedShards, rows: Iterable[AuditedSyncRow], report: AuditReport
) -> Buckets:
    """Mark each delivery that a row holds as seen, and report the differences of the rows.

    Args:
        log: All of ``im.timeline``.
        shards: All shards, after `compare_sync_log`.
        rows: The table. The rows of a recipient and bucket are adjacent, in order of key.
        report: Receives the differences.

    Returns:
        The buckets with rows, without misplaced rows.
    """
    buckets = Buckets(shards)
    counts = report.section("sync-store").counts
    partition: _Partition | None = None
    number = 0
    for number, row in enumerate(rows, 1):  # noqa: B007 - used after the loop
        user, bucket, sync_seq, records = row
        if partition is None or user != partition.user or bucket != partition.bucket:
            if partition is not None:
                partition.note_in(buckets)
            partition = _Partition(user, bucket, log, shards, report)
        partition.take(sync_seq, records)
    if partition is not None:
        partition.note_in(buckets)
    counts["rows"] += number
    return buckets


class _Partition:
    """The rows of one recipient in one bucket."""

    def __init__(
        self, user: str, bucket: BucketNumber, log: Log, shards: AuditedShards, report: AuditReport
    ) -> None:
        self.user = user
        self.bucket = bucket
        self._log = log
        self._shards = shards
        self._report = report
        self._shard = shard = shards.of(user, epoch_of_bucket(bucket))
        self._low = self._end = 0
        """The sync SeqIds from ``_low`` to below ``_end`` that no row so far has passed."""
        if shard is not None:
            self._low = max(shard.first_seq + shard.low, bucket * SYNC_BUCKET)
            self._end = min(shard.first_seq + shard.end, (bucket + 1) * SYNC_BUCKET)
        self._key = user.encode()
        self._places: dict[int, int] = {}
        """By number of a key, the place of this recipient in the key."""
        self._passed = -1
        """A reader of the rows so far has taken all references up to this sync SeqId."""
        self._passed_in_row: set[int] = set()
        self._reached = -1
        """The highest sync SeqId of a row whose record is in the shard."""

    def note_in(self, buckets: Buckets) -> None:
        """Add this bucket to ``buckets`` if it has rows."""
        if self._reached >= 0:
            buckets.add(self.user, self.bucket)
            buckets.reach(self.user, SyncSeqId(self._reached))

    def take(self, sync_seq: SyncSeqId, value: bytes | None) -> None:
        """Process the next row."""
        shard = self._shard
        if shard is None or sync_bucket(sync_seq) != self.bucket:
            self._take_misplaced(sync_seq)
            return
        row = _content(value)
        if row is None:
            self._differ("undecodable", sync_seq)
            return
        number = sum(map(len, row.entries.values())) // 2 + len(row.replies)
        if number > MAX_REFERENCES:
            detail = f"{number} records, at most {MAX_REFERENCES}"
            self._differ("row_too_long", sync_seq, detail=detail)
        highest = max(self._take_entries(shard, row), self._take_inline(shard, row))
        if highest != sync_seq:
            detail = f"the highest sync SeqId in the row is {highest}"
            self._differ("wrong_key", sync_seq, detail=detail)
        self._passed = max(self._passed, min(highest, sync_seq))
        self._low = max(self._low, self._passed + 1)
        self._passed_in_row.clear()

    def _take_entries(self, shard: Shard, row: SyncRow) -> int:
        """Process the references of a row; return the highest sync SeqId.

        The loop runs once for each delivery, so the normal path makes no call.
        """
        held, places, conversations = shard.deliveries, self._places, self._log.conversations
        digests, keys, starts, states = held.digests, held.keys, held.starts, held.states
        low, end, first = self._low, self._end, shard.first_seq + shard.low
        highest, reached = -1, self._reached
        for conv_id, pairs in row.entries.items():
            conversation = conversations.get(conv_id)
            entries = _NO_DIGESTS if conversation is None else conversation.digests
            head = len(entries)
            numbers = iter(pairs)
            for sync_seq, seq in zip(numbers, numbers, strict=True):
                if sync_seq > highest:  # noqa: PLR1730 - `max` is a call
                    highest = sync_seq
                if low <= sync_seq < end and 0 < seq <= head:
                    place = sync_seq - first
                    index = places.get(keys[place])
                    if index is not None and digests[place] == entries[seq - 1]:
                        index += starts[place]
                        if states[index] < SEEN:
                            states[index] = SEEN
                            if sync_seq > reached:  # noqa: PLR1730 - the same
                                reached = sync_seq
                            continue
                digest = self._log.reference_digest(conv_id, SeqId(seq))
                self._take_odd(shard, _Held(SyncSeqId(sync_seq), conv_id, SeqId(seq), digest))
        self._reached = max(self._reached, reached)
        return highest

    def _take_inline(self, shard: Shard, row: SyncRow) -> int:
        """Process the records without an entry; return the highest sync SeqId."""
        for sync_seq, raw in row.replies.items():
            value = bytes(raw)
            position, digest = position_of(value), audited_digest(value)
            if position is None:
                held = _Held(sync_seq, "", NO_SEQ, digest)
            else:
                is_text = position.kind not in INLINE
                held = _Held(sync_seq, position.conv_id, position.seq, digest, is_text)
            self._take_odd(shard, held)
        return max(row.replies, default=-1)

    def _take_odd(self, shard: Shard, held: _Held) -> None:
        """Classify a record that is not simply a due reference."""
        offset = Offset(held.sync_seq - shard.first_seq)
        place: dict[str, Any] = {"conv_id": held.conv_id, "seq": held.seq}
        if sync_bucket(held.sync_seq) != self.bucket:
            detail = "a reference to another bucket"
            self._differ("misplaced", held.sync_seq, **place, detail=detail)
        elif offset < shard.low:
            # Kafka removes whole segments, Cassandra single rows: either may expire first.
            self._report.section("sync-store").counts["no longer in im.sync"] += 1
        elif offset >= shard.end:
            newer = partial(shard.reaches, offset)
            self._report.hold("sync-store", newer, **self._place(held.sync_seq), **place)
        else:
            self._take_placed(shard.deliveries, offset - shard.low, held, place)

    def _take_placed(
        self, deliveries: Deliveries, at: int, held: _Held, place: dict[str, Any]
    ) -> None:
        index = self._index(deliveries, at)
        if index is None:
            self._differ("extra", held.sync_seq, **place)
            return
        before, deliveries.states[index] = deliveries.states[index], SEEN
        self._reached = max(self._reached, held.sync_seq)
        if held.is_text:
            detail = "the row holds the entry, not a reference"
            self._differ("entry_inline", held.sync_seq, **place, detail=detail)
        elif deliveries.digests[at] != held.digest:
            detail = "differs from the record of im.sync at that offset"
            self._differ("altered", held.sync_seq, **place, detail=detail)
        elif self._is_repeated(held.sync_seq, before):
            self._differ("double", held.sync_seq, **place, detail="more than once in one row")
        elif before == DUE and held.sync_seq <= self._passed:
            detail = "a reader of the earlier rows skips it"
            self._differ("out_of_order", held.sync_seq, **place, detail=detail)

    def _is_repeated(self, sync_seq: SyncSeqId, state: int) -> bool:
        """Whether a row repeats a record. A repetition of an earlier row is no difference."""
        if sync_seq > self._passed:
            return state == SEEN
        is_repeated = sync_seq in self._passed_in_row
        self._passed_in_row.add(sync_seq)
        return is_repeated

    def _index(self, deliveries: Deliveries, at: int) -> int | None:
        """The index of the delivery of a record to this recipient; None without a delivery."""
        key = deliveries.keys[at]
        if key == NO_KEY:
            return None
        index = deliveries.index(at, self._key)
        if index is not None:
            self._places[key] = index - deliveries.starts[at]
        return index

    def _take_misplaced(self, sync_seq: SyncSeqId) -> None:
        """Process a row of another bucket, or of an epoch in which the recipient has no shard."""
        epoch = epoch_of_bucket(self.bucket)
        if sync_bucket(sync_seq) == self.bucket:
            newer = partial(self._shards.has_come, self.user, epoch)
            place = self._place(sync_seq)
            self._report.hold("sync-store", newer, kind="misplaced", **place)
        else:
            self._differ("misplaced", sync_seq)

    def _differ(self, kind: DifferenceKind, sync_seq: SyncSeqId, **more: Any) -> None:
        self._report.differ("sync-store", kind, **self._place(sync_seq), **more)

    def _place(self, sync_seq: SyncSeqId) -> dict[str, Any]:
        where = f"table sync, bucket {self.bucket}, sync_seq {sync_seq}"
        return {"user": self.user, "where": where}


def _content(value: bytes | None) -> SyncRow | None:
    """The decoded content of a row; None if no sink writes such a row."""
    try:
        row = _decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return None if any(len(pairs) % 2 for pairs in row.entries.values()) else row
