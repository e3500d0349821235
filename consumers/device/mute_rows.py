"""The mutes of conversations in a local store.

Mutes arrive in any order, and the list of the store may be older or newer than a record. So each
mute has its sync SeqId, and the highest sync SeqId wins.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from schemas.number_types import Milliseconds, SyncSeqId

MUTE_TABLE: Final = """
CREATE TABLE IF NOT EXISTS mute (
    conv_id TEXT PRIMARY KEY, until INTEGER NOT NULL, sync_seq INTEGER NOT NULL
) WITHOUT ROWID
"""
"""A file of an earlier version lacks the table."""

_PUT: Final = (
    "INSERT INTO mute VALUES (?, ?, ?) ON CONFLICT DO UPDATE"
    " SET until = excluded.until, sync_seq = excluded.sync_seq"
    " WHERE excluded.sync_seq > sync_seq"
)


class MuteRows:
    """Part of one transaction.

    Args:
        db: The file, inside a transaction.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def get(self, conv_id: str) -> Milliseconds:
        """Return the end of the mute in milliseconds since 1970; 0 without a mute."""
        row = self._db.execute("SELECT until FROM mute WHERE conv_id = ?", (conv_id,)).fetchone()
        return Milliseconds(row[0] if row else 0)

    def put(self, conv_id: str, until: Milliseconds, sync_seq: SyncSeqId) -> None:
        """Store a mute, unless a later one is stored."""
        self._db.execute(_PUT, (conv_id, until, sync_seq))
