"""The read marks and the counts of messages in a local store."""

from __future__ import annotations

import sqlite3
from typing import Final

from consumers.device.unread_counts import ReadState
from schemas.number_types import SeqId
from schemas.unread import Counted

_SAVE: Final = """
INSERT OR REPLACE INTO reading (conv_id, end_seq, messages, mark, counted) VALUES (?, ?, ?, ?, ?)
"""


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
            self._states[conv_id] = ReadState() if row is None else _state(*row)
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
            [(conv_id, *_columns(states[conv_id])) for conv_id in self._changed],
        )


def _state(end_seq: SeqId, messages: int, mark: SeqId, counted: int | None) -> ReadState:
    return ReadState(Counted(end_seq, messages), mark, counted)


def _columns(state: ReadState) -> tuple[SeqId, int, SeqId, int | None]:
    """The reverse of `_state`."""
    return state.end.seq, state.end.messages, state.mark, state.counted
