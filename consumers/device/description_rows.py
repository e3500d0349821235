"""The names and the metadata of conversations in a local store.

Entries arrive in any order, and the list of the store may be older or newer than an entry. So each
value has the SeqId as of which it is known, and the highest SeqId wins.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from msgspec import UNSET, UnsetType

from consumers.device.knowledge import LocalDescription

DESCRIPTION_TABLE: Final = """
CREATE TABLE IF NOT EXISTS description (
    conv_id TEXT PRIMARY KEY,
    name TEXT NOT NULL, name_seq INTEGER NOT NULL,
    metadata TEXT NOT NULL, metadata_seq INTEGER NOT NULL
) WITHOUT ROWID
"""
"""A file of an earlier version lacks the table."""

_INSERT: Final = "INSERT OR IGNORE INTO description VALUES (?, '', -1, '', -1)"
_SET_NAME: Final = (
    "UPDATE description SET name = ?, name_seq = ? WHERE conv_id = ? AND name_seq <= ?"
)
_SET_METADATA: Final = (
    "UPDATE description SET metadata = ?, metadata_seq = ? WHERE conv_id = ? AND metadata_seq <= ?"
)


class DescriptionRows:
    """Part of one transaction.

    Args:
        db: The file, inside a transaction.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def get(self, conv_id: str) -> LocalDescription:
        """Return name and metadata; empty texts if there is none."""
        row = self._db.execute(
            "SELECT name, metadata FROM description WHERE conv_id = ?", (conv_id,)
        ).fetchone()
        return LocalDescription(*row) if row else LocalDescription()

    def put(
        self, conv_id: str, seq: int, name: str | UnsetType, metadata: str | UnsetType
    ) -> None:
        """Store the values as of SeqId ``seq``; an absent value stays as it is."""
        self._db.execute(_INSERT, (conv_id,))
        if name is not UNSET:
            self._db.execute(_SET_NAME, (name, seq, conv_id, seq))
        if metadata is not UNSET:
            self._db.execute(_SET_METADATA, (metadata, seq, conv_id, seq))
