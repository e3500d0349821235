"""The references in the rows of one bucket of a sync timeline: each once, in order.

Each row has the recipient's records of one flush of the sink, and its key is its highest sync
SeqId. After a restart, the sink reads records again from its committed offset and groups them into
other flushes, so rows may overlap. Still, each row has all records between the key of the row
below and its own key. The replay of a dead letter adds its record to the row that covers its sync
SeqId.

So a reader takes from each row the references above the key of the row below.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gateway.store.store_port import StoredRow
from schemas.number_types import SyncSeqId
from schemas.sync_rows import SyncReference, decode_row, references


def ascending(rows: Iterable[StoredRow], after: SyncSeqId) -> Iterator[SyncReference]:
    """The references above ``after``.

    Args:
        rows: All rows whose key is above ``after``, or the first of them, ascending.
        after: A sync SeqId.

    Raises:
        UndecodableRecord: A row cannot be decoded.
    """
    for row in rows:
        for each in references(decode_row(row.json)):
            if each.sync_seq > after:
                after = each.sync_seq
                yield each


def descending(
    rows: Sequence[StoredRow], before: SyncSeqId, below: SyncSeqId
) -> Iterator[SyncReference]:
    """The references below ``before``, the last one first.

    Args:
        rows: The first row whose key is ``before`` or above, and all rows below that, or the
            first of these; descending.
        before: A sync SeqId.
        below: The key of the row below these, -1 if there is none.

    Raises:
        UndecodableRecord: A row cannot be decoded.
    """
    keys = [*(row.sync_seq for row in rows[1:]), below]
    for row, key_below in zip(rows, keys, strict=False):  # there may be no rows
        for each in reversed(references(decode_row(row.json))):
            if key_below < each.sync_seq < before:
                yield each
