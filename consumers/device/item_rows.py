"""The entries and holes in a local store, by their SeqIds."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final

from consumers.device.knowledge import LocalConversation, TimelineItem
from consumers.device.spans import Span
from schemas.number_types import SeqId

_OVERLAPPING: Final = """
SELECT first, last FROM item
WHERE conv_id = :conv AND first <= :last AND first >= coalesce(
    (SELECT max(first) FROM item WHERE conv_id = :conv AND first <= :first), 0)
ORDER BY first
"""

_ABOVE: Final = "SELECT first, last FROM item WHERE conv_id = ? AND first > ? ORDER BY first"


class ItemRows:
    """Part of one transaction on the file of a local store.

    Args:
        db: The file, inside a transaction.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def spans_in(self, conv_id: str, span: Span) -> list[Span]:
        """Return the stored spans that overlap a span, in order."""
        place = {"conv": conv_id, "first": span.first, "last": span.last}
        return [Span(*row) for row in self._db.execute(_OVERLAPPING, place)]

    def spans_above(self, conv_id: str, seq: SeqId) -> Iterator[Span]:
        """Return the stored spans above a SeqId, in order. Reads no further than needed."""
        return map(Span._make, self._db.execute(_ABOVE, (conv_id, seq)))

    def insert(self, item: TimelineItem, parts: Iterable[Span]) -> None:
        """Store an item at these SeqIds, which must have no item."""
        self._db.executemany(
            "INSERT INTO item (conv_id, first, last, hole, json) VALUES (?, ?, ?, ?, ?)",
            [(item.conv_id, part.first, part.last, item.hole, item.json) for part in parts],
        )

    def entry_json(self, conv_id: str, seq: SeqId) -> bytes | None:
        """Return the entry of a SeqId; None if there is no entry."""
        row = self._db.execute(
            "SELECT json FROM item WHERE conv_id = ? AND first = ? AND hole IS NULL",
            (conv_id, seq),
        ).fetchone()
        if row is None:
            return None
        (json,) = row
        return bytes(json)

    def complete(
        self, conversation: LocalConversation, after: SeqId, limit: int
    ) -> list[TimelineItem]:
        """Return up to ``limit`` items above a SeqId, in order, none of them after a gap."""
        rows = self._db.execute(
            "SELECT conv_id, first, last, hole, json FROM item "
            "WHERE conv_id = ? AND first > ? AND last <= ? ORDER BY first LIMIT ?",
            (conversation.conv_id, after, conversation.through, limit),
        )
        return [TimelineItem(*row) for row in rows]
