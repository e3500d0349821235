"""Where a device is in its sync timeline.

A cursor is the sync SeqId of the last record that the device has dealt with. It only goes
forward, so that two writers, or one that repeats itself, cannot bring records back.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Protocol

from schemas.errors import ConfigurationError, TransientFailure

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
    """Keeps a cursor for each (user, device). Safe among threads."""

    def load(self, user: str, device_id: str) -> int | None:
        """The device's cursor; None if it has none.

        Raises:
            TransientFailure: The store cannot be read for now.
        """

    def save(self, user: str, device_id: str, sync_seq: int) -> None:
        """Moves the device's cursor forward; one that is further on already stays.

        Raises:
            TransientFailure: The store cannot be written for now; the cursor is as before.
        """

    def forget(self, user: str, device_id: str) -> None:
        """Lets the device begin anew, as after `schemas.errors.Trimmed`.

        Raises:
            TransientFailure: The store cannot be written for now; the cursor is as before.
        """


class MemoryCursors:
    """Cursors that end with the process."""

    def __init__(self) -> None:
        self._cursors: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def load(self, user: str, device_id: str) -> int | None:
        """As of `CursorStore`."""
        return self._cursors.get((user, device_id))

    def save(self, user: str, device_id: str, sync_seq: int) -> None:
        """As of `CursorStore`."""
        with self._lock:
            before = self._cursors.get((user, device_id), sync_seq)
            self._cursors[user, device_id] = max(before, sync_seq)

    def forget(self, user: str, device_id: str) -> None:
        """As of `CursorStore`."""
        self._cursors.pop((user, device_id), None)


class FileCursors:
    """Cursors in a SQLite file, which several processes may share.

    `synchronous=NORMAL`: a power cut may take the last moves back, and the records after them
    come again. That is the same as a crash between handling a record and moving the cursor.

    Args:
        path: The file; it and its folder are made if they are missing.

    Raises:
        ConfigurationError: The file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Autocommit: each statement is a whole.
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(_TABLE)
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(f"the cursors {path} cannot be opened: {error}") from error

    def load(self, user: str, device_id: str) -> int | None:
        """As of `CursorStore`."""
        row = self._execute(
            "SELECT sync_seq FROM cursor WHERE user_id = ? AND device_id = ?", (user, device_id)
        )
        return row[0] if row else None

    def save(self, user: str, device_id: str, sync_seq: int) -> None:
        """As of `CursorStore`."""
        self._execute(_SAVE, (user, device_id, sync_seq))

    def forget(self, user: str, device_id: str) -> None:
        """As of `CursorStore`."""
        self._execute("DELETE FROM cursor WHERE user_id = ? AND device_id = ?", (user, device_id))

    def close(self) -> None:
        """Lets go of the file."""
        with self._lock:
            self._db.close()

    def _execute(self, statement: str, values: tuple[str | int, ...]) -> tuple[int] | None:
        try:
            with self._lock:
                row: tuple[int] | None = self._db.execute(statement, values).fetchone()
                return row
        except sqlite3.OperationalError as error:
            raise TransientFailure(f"the cursors {self._path} do not answer: {error}") from error
