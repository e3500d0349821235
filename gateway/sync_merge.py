"""The references that rows of one bucket of a sync timeline hold: each once, in order.

The sink writes the records of a recipient in flushes: each row holds an unbroken run of the
timeline that ends at the key of the row. A replay begins at a committed place and cuts the same
records into other flushes, so runs overlap. But below each key everything is there: the first row
at or above a sync SeqId has the record of that sync SeqId, if there is such a record.

So a reader takes rows in the order of their keys, and from each row what lies behind the last
reference that the reader has taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.store import StoredRow
from schemas.sync_rows import SyncReference, decode_row, references


def ascending(rows: Iterable[StoredRow], after: int) -> Iterator[SyncReference]:
    """The references above ``after``.

    Args:
        rows: All rows whose key is above ``after``, or the first of them, ascending.
        after: A sync SeqId.

    Raises:
        UndecodableRecord: The text of a row is not that of a row.
    """
    for row in rows:
        for each in references(decode_row(row.json)):
            if each.sync_seq > after:
                after = each.sync_seq
                yield each


def descending(rows: Iterable[StoredRow], before: int) -> Iterator[SyncReference]:
    """The references below ``before``, the last one first.

    Args:
        rows: The first row whose key is ``before`` or above, and all rows below that, or the
            first of these; descending.
        before: A sync SeqId.

    Raises:
        UndecodableRecord: The text of a row is not that of a row.
    """
    for row in rows:
        for each in reversed(references(decode_row(row.json))):
            if each.sync_seq < before:
                before = each.sync_seq
                yield each
