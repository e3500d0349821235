"""Adds single records to sync timelines that already have later rows."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Raw

from schemas.buckets import sync_bucket
from schemas.errors import PoisonRecord, UndecodableRecord
from schemas.recipients import recipients_of
from schemas.sync_rows import SyncReference, decode_row, references
from sinks.base.records import Record
from sinks.base.writer_port import WriteOutcome
from sinks.cassandra.requests import failures_by_kind, prepare_statement
from sinks.cassandra.sync_parts import Timeline
from sinks.cassandra.sync_places import SyncPlacement, sort_out
from sinks.cassandra.sync_writer import SyncWriter


class LateSyncWriter:
    """Writes records that were dead letters.

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
            "SELECT records FROM sync WHERE user_id = ? AND bucket = ? AND sync_seq >= ?"
            " ORDER BY sync_seq LIMIT 1",
        )

    def write(self, records: Sequence[Record]) -> WriteOutcome:
        """See `sinks.base.writer_port.StoreWriter.write`."""
        poison = [
            refused for at in range(len(records)) for refused in self._write_one(records, at)
        ]
        return WriteOutcome(poison)

    def _write_one(self, records: Sequence[Record], at: int) -> list[PoisonRecord]:
        by_key, marks, poison = sort_out(records, range(at, at + 1))
        refused = self._writer.mark(marks)
        for key, (place,) in by_key.items():
            try:
                timelines = [
                    Timeline([user], self._with_row_above(user, place))
                    for user in dict.fromkeys(recipients_of(key))
                ]
            except UndecodableRecord:
                return [PoisonRecord(at, "the row that the record belongs in is not readable")]
            refused += self._writer.deliver(timelines)
        return (poison + refused)[:1]

    def _with_row_above(self, user: bytes, place: SyncPlacement) -> list[SyncPlacement]:
        """The record, and the records in the row above it.

        Raises:
            UndecodableRecord: The row above is not a row of sync records.
        """
        bucket = sync_bucket(place.sync_seq)
        with failures_by_kind():
            row = self._writer.session.execute(
                self._row_above, (user.decode(), bucket, place.sync_seq)
            ).one()
        others: list[SyncReference] = []
        if row is not None:
            (stored,) = row
            others = references(decode_row(stored))
        return [
            *(
                SyncPlacement(
                    place.origin, each.sync_seq, each.conv_id, each.seq, _bytes(each.reply)
                )
                for each in others
                if each.sync_seq != place.sync_seq
            ),
            place,
        ]


def _bytes(reply: Raw | None) -> bytes | None:
    return None if reply is None else bytes(reply)
