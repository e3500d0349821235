"""The changes that recalls and edits make to rows of ``message``, in any order of writes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from cassandra.cluster import Session

from backends.cassandra.tables import RECALL_TIMESTAMP
from schemas.buckets import message_bucket
from schemas.number_types import BucketNumber, SeqId
from schemas.records import AnyEntry, MessageEdited, MessageRecalled
from sinks.cassandra.requests import Row, prepare_statement

_ROW_BYTES: Final = 192


def altered(entry: AnyEntry) -> Sequence[SeqId]:
    """The SeqIds that an entry alters."""
    if isinstance(entry, MessageRecalled):
        return (entry.target, *entry.edits)
    return (entry.target,) if isinstance(entry, MessageEdited) else ()


class AlterationRows:
    """Makes rows from recalls and edits; other entries make no rows.

    Args:
        session: A session in the keyspace of the deployment.

    Raises:
        TransientFailure: Cassandra does not answer.
        FatalFailure: The table is missing or has another shape.
    """

    def __init__(self, session: Session) -> None:
        self._recall = prepare_statement(
            session,
            "INSERT INTO message (conv_id, bucket, seq, recalled_by, entry) "
            "VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?",
        )
        self._edit = prepare_statement(
            session,
            "INSERT INTO message (conv_id, bucket, seq, edited_by) "
            "VALUES (?, ?, ?, ?) USING TIMESTAMP ?",
        )

    def rows(self, entries: Iterable[tuple[int, AnyEntry]]) -> Iterable[Sequence[Row]]:
        """The rows by partition, from entries with their positions in a batch."""
        buckets: defaultdict[tuple[str, BucketNumber], list[Row]] = defaultdict(list)
        for origin, entry in entries:
            if isinstance(entry, MessageRecalled):
                for seq in altered(entry):
                    place = (entry.conv_id, message_bucket(seq))
                    insert = self._recall.bind((*place, seq, entry.seq, "", RECALL_TIMESTAMP))
                    buckets[place].append(Row(insert, origin, _ROW_BYTES))
            elif isinstance(entry, MessageEdited):
                place = (entry.conv_id, message_bucket(entry.target))
                insert = self._edit.bind((*place, entry.target, entry.seq, entry.seq))
                buckets[place].append(Row(insert, origin, _ROW_BYTES))
        return buckets.values()
