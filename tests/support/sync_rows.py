"""Rows of the table ``sync`` in memory, read as a gateway reads them."""

from __future__ import annotations

from collections import defaultdict

from schemas.sync_rows import SyncReference, decode_row, references


class SyncRows:
    """Rows by recipient and key."""

    def __init__(self) -> None:
        self.rows: defaultdict[str, dict[int, str]] = defaultdict(dict)

    def put(self, user: str, sync_seq: int, records: str) -> None:
        """Writes a row, or overwrites it."""
        self.rows[user][sync_seq] = records

    def read(self, user: str, after: int = -1) -> list[int]:
        """The sync SeqIds above a cursor that a reader receives, in this order.

        The reader goes through the rows by key. From each row the reader takes the references
        above the last taken one.
        """
        return [reference.sync_seq for reference in taken(self.rows[user], after)]


def taken(rows: dict[int, str], after: int = -1) -> list[SyncReference]:
    """The references above a cursor that a reader of these rows receives."""
    found: list[SyncReference] = []
    for key in sorted(rows):
        if key <= after:
            continue
        held = references(decode_row(rows[key]))
        new = [reference for reference in held if reference.sync_seq > after]
        found += new
        after = max(after, key)
    return found
