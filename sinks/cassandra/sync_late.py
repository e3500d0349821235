"""Adds records to sync timelines that already have later rows."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

from msgspec import Raw

from schemas.buckets import sync_bucket
from schemas.errors import PoisonRecord, UndecodableRecord
from schemas.number_types import BucketNumber, SyncSeqId
from schemas.recipients import recipients_of
from schemas.sync_rows import decode_row, references
from sinks.base.records import Record
from sinks.base.writer_port import WriteOutcome
from sinks.cassandra.requests import failures_by_kind, prepare_statement
from sinks.cassandra.sync_parts import Timeline
from sinks.cassandra.sync_places import SyncPlacement, sort_out
from sinks.cassandra.sync_writer import SyncWriter

_by_sync_seq: Final = attrgetter("sync_seq")


class LateSyncWriter:
    """Writes records that were dead letters, or that the store has lost.

    A row has all records of its recipient between the row below and its own key. So a late record
    is added to the first row above it. Only if no such row exists, the record becomes a row.

    Args:
        writer: Writes the rows.

    Raises:
        TransientFailure: Cassandra does not answer.
        FatalFailure: A table is missing or has another shape.
    """

    def __init__(self, writer: SyncWriter) -> None:
        self._writer = writer
        self._row_above = prepare_statement(
            writer.session,
            "SELECT sync_seq, records FROM sync WHERE user_id = ? AND bucket = ? AND sync_seq >= ?"
            " ORDER BY sync_seq LIMIT 1",
        )
        self._last_row = prepare_statement(
            writer.session,
            "SELECT sync_seq, records FROM sync WHERE user_id = ? AND bucket = ?"
            " ORDER BY sync_seq DESC LIMIT 1",
        )

    def write(self, records: Sequence[Record]) -> WriteOutcome:
        """See `sinks.base.writer_port.StoreWriter.write`."""
        poison = [
            refused for at in range(len(records)) for refused in self._write_one(records, at)
        ]
        return WriteOutcome(poison)

    def _write_one(self, records: Sequence[Record], at: int) -> list[PoisonRecord]:
        by_key, marks, mutes, poison = sort_out(records, range(at, at + 1))
        refused = self._writer.mark(marks, mutes)
        for key, (place,) in by_key.items():
            for user in dict.fromkeys(recipients_of(key)):
                refused += self.add(user, [place])
        return (poison + refused)[:1]

    def add(self, user: bytes, places: Sequence[SyncPlacement]) -> list[PoisonRecord]:
        """Adds records of one recipient, and returns the refused ones.

        Raises:
            TransientFailure: Not all of them are durable.
            FatalFailure: Cassandra refuses this client, or a table is missing.
        """
        refused: list[PoisonRecord] = []
        left = sorted(places, key=_by_sync_seq)
        while left:
            bucket = sync_bucket(left[0].sync_seq)
            try:
                with failures_by_kind():
                    row = self._writer.session.execute(
                        self._row_above, (user.decode(), bucket, left[0].sync_seq)
                    ).one()
                end, stored = _content(row, left[0].origin)
            except UndecodableRecord:
                reason = "the row that the record belongs in is not readable"
                refused.append(PoisonRecord(left[0].origin, reason))
                del left[0]
                continue
            added = [each for each in left if sync_bucket(each.sync_seq) == bucket]
            if end is not None:
                added = [each for each in added if each.sync_seq <= end]
            seqs = {each.sync_seq for each in added}
            others = [each for each in stored if each.sync_seq not in seqs]
            refused += self._writer.deliver([Timeline([user], [*others, *added])])
            left = left[len(added) :]
        return refused

    def list_again(self, user: bytes, bucket: BucketNumber) -> None:
        """Writes the last row of a bucket again, with its listing and its note on expiry.

        Nothing is written if the bucket has no row, or if the row is not readable.

        Raises:
            TransientFailure: The row is not durable.
            FatalFailure: Cassandra refuses this client, or a table is missing.
        """
        with failures_by_kind():
            row = self._writer.session.execute(self._last_row, (user.decode(), bucket)).one()
        try:
            _, stored = _content(row, 0)
        except UndecodableRecord:
            return
        if stored:
            self._writer.deliver([Timeline([user], stored)])


def _content(row: Any, origin: int) -> tuple[SyncSeqId | None, list[SyncPlacement]]:
    """The key and the records of a row, with this origin; (None, []) without a row.

    Raises:
        UndecodableRecord: The row is not a row of sync records.
    """
    if row is None:
        return None, []
    key, records = row
    return key, [
        SyncPlacement(origin, each.sync_seq, each.conv_id, each.seq, _bytes(each.reply))
        for each in references(decode_row(records))
    ]


def _bytes(reply: Raw | None) -> bytes | None:
    return None if reply is None else bytes(reply)
