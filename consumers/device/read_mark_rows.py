"""The read marks and the counts of messages in a local store."""

from __future__ import annotations

import sqlite3
from typing import Final

from consumers.device.unread_counts import ReadState
from schemas.unread import Counted

_SAVE: Final = "INSERT OR REPLACE INTO reading VALUES (?, ?, ?, ?, ?)"


class ReadMarkRows:
    """Part of one transaction. `write` writes the changed rows at its end, once each.

    Args:
        db: The file, inside a transaction.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._states: dict[str, ReadState] = {}
        self._changed: set[str] = set()

    def get(self, conv_id: str) -> ReadState:
        """Return how far the owner has read, this transaction included."""
        if conv_id not in self._states:
            row = self._db.execute(
                "SELECT end_seq, messages, mark, counted FROM reading WHERE conv_id = ?",
                (conv_id,),
            ).fetchone()
            state = ReadState(Counted(*row[:2]), *row[2:]) if row else ReadState()
            self._states[conv_id] = state
        return self._states[conv_id]

    def put(self, conv_id: str, state: ReadState) -> None:
        """Replace how far the owner has read in a conversation."""
        if state != self.get(conv_id):
            self._states[conv_id] = state
            self._changed.add(conv_id)

    def lacks_count(self) -> bool:
        """Return whether the unread number of some conversation in the file is unknown."""
        row = self._db.execute(
            "SELECT 1 FROM reading WHERE counted IS NULL AND mark < end_seq LIMIT 1"
        ).fetchone()
        return row is not None

    def write(self) -> None:
        """Write the rows that have changed."""
        states = self._states
        self._db.executemany(
            _SAVE,
            [(conv_id, *states[conv_id].end, *states[conv_id][1:]) for conv_id in self._changed],
        )
