"""The file of a local store: its tables, and how it is opened."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from consumers.local.knowledge import BEFORE_ALL
from schemas.errors import ConfigurationError

_SCHEMA_VERSION: Final = 1

_SCHEMA: Final = """
BEGIN;
CREATE TABLE device (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 0),
    user_id TEXT NOT NULL, device_id TEXT NOT NULL, cursor INTEGER NOT NULL
);
CREATE TABLE conversation (
    conv_id TEXT PRIMARY KEY,
    head INTEGER NOT NULL,     -- the last SeqId that is known to exist
    through INTEGER NOT NULL,  -- up to here nothing is missing
    shown INTEGER NOT NULL,    -- up to here it was shown
    mode TEXT, mode_seq INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX with_gaps ON conversation (conv_id) WHERE through < head;
CREATE INDEX to_show ON conversation (conv_id) WHERE shown < through;
CREATE INDEX pulled ON conversation (conv_id) WHERE mode = 'pull';
CREATE TABLE item (
    conv_id TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    hole TEXT, json BLOB NOT NULL,
    PRIMARY KEY (conv_id, first)
) WITHOUT ROWID;
PRAGMA user_version = 1;
COMMIT;
"""


def open_file(path: Path, user: str, device_id: str) -> sqlite3.Connection:
    """Opens the file of one device, and makes it if it is missing.

    `synchronous=NORMAL`: a power cut may take the last transactions back. As entries and cursor
    are in the same one, what they held comes again.

    Raises:
        ConfigurationError: It cannot be opened, is in use, or belongs to another device.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path, timeout=0, isolation_level="IMMEDIATE", check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise ConfigurationError(f"the local store {path} cannot be opened: {error}") from error
    try:
        _prepare(db, path, user, device_id)
    except sqlite3.Error as error:
        db.close()
        raise ConfigurationError(f"the local store {path} cannot be opened: {error}") from error
    except ConfigurationError:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path, user: str, device_id: str) -> None:
    # The lock is the file's own: it ends with the process, however that ends.
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == 0:
        db.executescript(_SCHEMA)
    elif version != _SCHEMA_VERSION:
        raise ConfigurationError(f"the local store {path} is of version {version}, unknown here")
    with db:
        owner = (0, user, device_id, BEFORE_ALL)
        db.execute("INSERT OR IGNORE INTO device VALUES (?, ?, ?, ?)", owner)
    if db.execute("SELECT user_id, device_id FROM device").fetchone() != (user, device_id):
        raise ConfigurationError(f"the local store {path} is of another user or device")
