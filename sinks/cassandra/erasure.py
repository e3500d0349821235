"""Takes recalled texts out of sync timelines that are stored already.

A sync record is the entry itself, so whoever was told a text has it in their timeline, some way
below the record that tells of the recall. Nothing says where: that would be one row more for each
record, and recalls are rare. So the timeline is read backwards from the recall, until what was
recalled is found, or an entry of the conversation from before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, get_args

from cassandra.cluster import Session
from msgspec import Struct

from schemas.codec import decode_position, decode_sync_record, encode
from schemas.errors import UndecodableRecord
from schemas.limits import SYNC_BUCKET
from schemas.records import (
    AnyEntry,
    EntryPosition,
    MessageEdited,
    MessageRecalled,
    MessageSent,
    RecalledHole,
    Retracted,
)
from sinks.cassandra.requests import failures_by_kind, prepare

ROWS: Final = 500
"""Rows of one answer, some 200 KB; a recalled message is mostly among the first."""

_BUCKETS: Final = 100

MAX_AT: Final = 100_000_000_000_000
"""Milliseconds since 1970, the year 5138: a later time is a mistake, and would overflow."""

KINDS: Final = frozenset(str(kind.__struct_config__.tag) for kind in (MessageRecalled, Retracted))
"""Of the records that tell of a recall."""

_WITH_TEXT: Final = frozenset(
    str(kind.__struct_config__.tag) for kind in (MessageSent, MessageEdited)
)

_IN_ORDER: Final = frozenset(
    str(kind.__struct_config__.tag) for kind in (*get_args(AnyEntry), RecalledHole)
)
"""Of the records of a conversation whose SeqIds grow: a reply may be about any SeqId."""


def row_timestamp(at: int) -> int:
    """The Cassandra timestamp (microseconds) of the row of a record of this time (ms).

    The same record always gives the same timestamp, so that a replay changes nothing. The
    timestamp of an erasure is one more: a replayed record never brings an erased text back, in
    whatever order both are written. TWCS groups rows by this timestamp, therefore no row may have
    one from the future.
    """
    return max(1, at * 1000)


class Recall(Struct, frozen=True):
    """That ``user`` has learned of a recall, by the record at ``sync_seq``.

    ``origin`` is the position of that record in its batch.
    """

    origin: int
    user: str
    sync_seq: int
    conv_id: str
    seqs: frozenset[int]


def recall_of(origin: int, user: str, sync_seq: int, value: bytes) -> Recall:
    """What one of the records of these `KINDS` tells.

    Raises:
        UndecodableRecord: It is not one.
    """
    record = decode_sync_record(value)
    if not isinstance(record, MessageRecalled | Retracted):
        raise UndecodableRecord("it tells of no recall")
    seqs = frozenset((record.target, *record.edits))
    return Recall(origin, user, sync_seq, record.conv_id, seqs)


class _Row(NamedTuple):
    sync_seq: int
    conv_id: str | None
    seq: int | None
    record: str | None


class Eraser:
    """Overwrites the records of recalled entries by `RecalledHole`.

    Args:
        session: In the keyspace of the deployment.
        ttl: Seconds that a row of ``sync`` lives.

    Raises:
        TransientFailure: Cassandra does not answer.
        FatalFailure: A table is missing or has another shape.
    """

    def __init__(self, session: Session, ttl: int) -> None:
        self._session = session
        self._ttl = ttl
        self._buckets = prepare(
            session,
            "SELECT bucket FROM sync_bucket WHERE user_id = ? AND bucket <= ? "
            "ORDER BY bucket DESC LIMIT ?",
        )
        self._rows = prepare(
            session,
            "SELECT sync_seq, conv_id, seq, record FROM sync "
            "WHERE user_id = ? AND bucket = ? AND sync_seq < ? ORDER BY sync_seq DESC LIMIT ?",
        )
        self._erase = prepare(
            session,
            "INSERT INTO sync (user_id, bucket, sync_seq, conv_id, seq, record) "
            "VALUES (?, ?, ?, ?, ?, ?) USING TTL ? AND TIMESTAMP ?",
        )

    def erase(self, recall: Recall) -> None:
        """Erases what a recall names. All rows below it have to be durable. From any thread.

        Raises:
            TransientFailure: Cassandra does not answer; the same call may pass later.
            FatalFailure: Cassandra refuses.
        """
        with failures_by_kind():
            self._erase_all(recall)

    def _erase_all(self, recall: Recall) -> None:
        left = set(recall.seqs)
        for row in self._rows_below(recall):
            if row.conv_id != recall.conv_id or row.seq is None:
                continue
            position = _position(row)
            if position is None or position.kind not in _IN_ORDER:
                continue
            if row.seq in left and position.kind in _WITH_TEXT:
                self._overwrite(recall, row, row_timestamp(position.at) + 1)
            left.discard(row.seq)
            if not left or row.seq < min(left):
                return

    def _rows_below(self, recall: Recall) -> Iterator[_Row]:
        for bucket in self._buckets_below(recall):
            below = recall.sync_seq
            while True:
                asked = (recall.user, bucket, below, ROWS)
                rows = [_Row(*row) for row in self._session.execute(self._rows, asked)]
                yield from rows
                if len(rows) < ROWS:
                    break
                below = rows[-1].sync_seq

    def _buckets_below(self, recall: Recall) -> Iterator[int]:
        last = recall.sync_seq // SYNC_BUCKET
        while True:
            asked = (recall.user, last, _BUCKETS)
            found: list[Any] = list(self._session.execute(self._buckets, asked))
            yield from (bucket for (bucket,) in found)
            if len(found) < _BUCKETS:
                return
            last = found[-1][0] - 1

    def _overwrite(self, recall: Recall, row: _Row, timestamp: int) -> None:
        hole = encode(RecalledHole(conv_id=recall.conv_id, seq=row.seq or 0)).decode()
        place = (recall.user, row.sync_seq // SYNC_BUCKET, row.sync_seq)
        values = (*place, recall.conv_id, row.seq, hole, self._ttl, timestamp)
        self._session.execute(self._erase, values)


def _position(row: _Row) -> EntryPosition | None:
    try:
        return decode_position((row.record or "").encode())
    except UndecodableRecord:
        return None
