"""The table ``sync`` after a sink that was killed and restarted several times."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import accumulate, cycle, groupby, islice, pairwise
from operator import itemgetter
from typing import Final, TypeAlias

from msgspec import Raw

from audit.log import KafkaRecord
from audit.sync_store import AuditedSyncRow
from schemas.buckets import sync_bucket
from schemas.codec import decode_sync_record
from schemas.number_types import BucketNumber, ShardNumber, SyncSeqId
from schemas.recipients import recipients_of
from schemas.records import AnyEntry
from schemas.sync_rows import SyncRow, encode_row
from schemas.sync_seq import epoch_of, sync_seq

Process: TypeAlias = tuple[Sequence[int], int]
"""Number of records in each flush of a process, and number of these flushes that the process
commits before it is killed. The next process begins after the last committed flush.
"""

_KILLED_AT_TIMES: Final[Sequence[Process]] = (((3,), 0), ((2, 3), 2))
_MOST_PROCESSES: Final = 50


def rows_of(
    records: Iterable[KafkaRecord], processes: Sequence[Process] = _KILLED_AT_TIMES
) -> list[AuditedSyncRow]:
    """The rows, in the order of (recipient, bucket, key).

    Args:
        records: Records of ``im.sync``.
        processes: The processes that write each shard, again and again; the last process writes
            all remaining records.
    """
    table: dict[tuple[str, BucketNumber, SyncSeqId], bytes] = {}
    for _, of_shard in groupby(sorted(records, key=itemgetter(0, 1)), itemgetter(0)):
        shard, committed = list(of_shard), 0
        for sizes, done in islice(cycle(processes), _MOST_PROCESSES):
            ends = list(accumulate(sizes, initial=committed))
            for begin, end in pairwise(ends):
                _flush(shard[begin:end], table)
            committed = ends[done]
        _flush(shard[committed:], table)
    return [AuditedSyncRow(*place, value) for place, value in sorted(table.items())]


def _flush(
    records: Sequence[KafkaRecord], table: dict[tuple[str, BucketNumber, SyncSeqId], bytes]
) -> None:
    rows: defaultdict[tuple[str, BucketNumber], SyncRow] = defaultdict(lambda: SyncRow({}, {}))
    last: dict[tuple[str, BucketNumber], SyncSeqId] = {}
    for number, offset, key, value in records:
        place = sync_seq(epoch_of(ShardNumber(number)), offset)
        for user in recipients_of(key or b""):
            partition = user.decode(), sync_bucket(place)
            put(rows[partition], place, value or b"")
            last[partition] = place
    for partition, row in rows.items():
        table[*partition, last[partition]] = encode_row(row)


def put(row: SyncRow, place: int, value: bytes) -> None:
    """Adds a sync record to a row: an entry as a reference, any other record as its value."""
    record = decode_sync_record(value)
    if isinstance(record, AnyEntry):
        row.entries.setdefault(record.conv_id, []).extend((place, record.seq))
    else:
        row.replies[SyncSeqId(place)] = Raw(value)
