"""The row of the device in a local store: its cursor, and whether it has its start positions."""

from __future__ import annotations

import sqlite3

from consumers.device.knowledge import BEFORE_ALL
from schemas.number_types import SyncSeqId


class DeviceRow:
    """Part of one transaction on the file of a local store.

    Args:
        db: The file, inside a transaction.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def cursor(self) -> SyncSeqId:
        """The sync SeqId up to which everything was applied, or `BEFORE_ALL`."""
        (cursor,) = self._db.execute("SELECT cursor FROM device").fetchone()
        return SyncSeqId(cursor)

    def move_cursor(self, sync_seq: SyncSeqId) -> None:
        """Move the cursor forward, never back."""
        self._db.execute("UPDATE device SET cursor = max(cursor, ?)", (sync_seq,))

    def reset_cursor(self) -> None:
        """Reset the cursor to `BEFORE_ALL`."""
        self._db.execute("UPDATE device SET cursor = ?", (BEFORE_ALL,))

    def has_begun(self) -> bool:
        """Return whether the device has received its start positions."""
        (begun,) = self._db.execute("SELECT begun FROM device").fetchone()
        return bool(begun)

    def set_begun(self) -> None:
        """Store that the device has received its start positions."""
        self._db.execute("UPDATE device SET begun = 1")

    def is_late(self) -> bool:
        """Return whether earlier entries exist that the device does not show."""
        (late,) = self._db.execute("SELECT late FROM device").fetchone()
        return bool(late)

    def set_late(self, *, is_late: bool) -> None:
        """Store whether earlier entries exist that the device does not show."""
        self._db.execute("UPDATE device SET late = ?", (is_late,))
