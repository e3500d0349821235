"""The position of a device in its sync timeline.

A cursor is the sync SeqId of the last record that the device has handled. A cursor only moves
forward: two writers, or a repeated write, cannot make the device read old records again.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Protocol

from schemas.errors import ConfigurationError, TransientFailure
from schemas.number_types import SyncSeqId

_TABLE = """
CREATE TABLE IF NOT EXISTS cursor (
    user_id TEXT NOT NULL, device_id TEXT NOT NULL, sync_seq INTEGER NOT NULL,
    PRIMARY KEY (user_id, device_id)
) WITHOUT ROWID
"""

_SAVE = """
INSERT INTO cursor VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET sync_seq = max(sync_seq, excluded.sync_seq)
"""


class CursorStore(Protocol):
    """Stores a cursor for each (user, device). Thread-safe."""

    def load(self, user: str, device_id: str) -> SyncSeqId | None:
        """Return the device's cursor; None if it has none.

        Raises:
            TransientFailure: The store cannot be read now.
        """

    def save(self, user: str, device_id: str, sync_seq: SyncSeqId) -> None:
        """Move the device's cursor forward. A stored cursor that is higher does not change.

        Raises:
            TransientFailure: The store cannot be written now; the cursor did not change.
        """

    def forget(self, user: str, device_id: str) -> None:
        """Delete the device's cursor, so that the device starts again, as after `Trimmed`.

        Raises:
            TransientFailure: The store cannot be written now; the cursor did not change.
        """


class MemoryCursors:
    """Cursors in memory. They end with the process."""

    def __init__(self) -> None:
        self._cursors: dict[tuple[str, str], SyncSeqId] = {}
        self._lock = threading.Lock()

    def load(self, user: str, device_id: str) -> SyncSeqId | None:
        """See `CursorStore`."""
        return self._cursors.get((user, device_id))

    def save(self, user: str, device_id: str, sync_seq: SyncSeqId) -> None:
        """See `CursorStore`."""
        with self._lock:
            before = self._cursors.get((user, device_id), sync_seq)
            self._cursors[user, device_id] = max(before, sync_seq)

    def forget(self, user: str, device_id: str) -> None:
        """See `CursorStore`."""
        self._cursors.pop((user, device_id), None)


class FileCursors:
    """Cursors in a SQLite file, which several processes may share.

    `synchronous=NORMAL`: a power cut may undo the last moves. The records after these cursors are
    then delivered again, as after a crash between handling a record and moving the cursor.

    Args:
        path: The file. The file and its folder are created if they are missing.

    Raises:
        ConfigurationError: The file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Autocommit: each statement is one transaction.
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(_TABLE)
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(f"the cursors {path} cannot be opened: {error}") from error

    def load(self, user: str, device_id: str) -> SyncSeqId | None:
        """See `CursorStore`."""
        row = self._execute(
            "SELECT sync_seq FROM cursor WHERE user_id = ? AND device_id = ?", (user, device_id)
        )
        if row is None:
            return None
        (sync_seq,) = row
        return SyncSeqId(sync_seq)

    def save(self, user: str, device_id: str, sync_seq: SyncSeqId) -> None:
        """See `CursorStore`."""
        self._execute(_SAVE, (user, device_id, sync_seq))

    def forget(self, user: str, device_id: str) -> None:
        """See `CursorStore`."""
        self._execute("DELETE FROM cursor WHERE user_id = ? AND device_id = ?", (user, device_id))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _execute(self, statement: str, values: tuple[str | int, ...]) -> tuple[int] | None:
        try:
            with self._lock:
                row: tuple[int] | None = self._db.execute(statement, values).fetchone()
                return row
        except sqlite3.OperationalError as error:
            raise TransientFailure(f"the cursors {self._path} do not answer: {error}") from error
