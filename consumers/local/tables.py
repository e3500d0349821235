"""The file of a local store: its tables, and whose it is.

`synchronous=NORMAL`: a power cut may take the last transactions back. As entries and cursor are
in the same one, what they held comes again.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from backends.own_file import OwnFile, open_own_file
from consumers.local.knowledge import BEFORE_ALL
from schemas.errors import ConfigurationError

_FILE: Final = OwnFile(
    name="the local store",
    schema="""
        CREATE TABLE device (
            only_row INTEGER PRIMARY KEY CHECK (only_row = 0),
            user_id TEXT NOT NULL, device_id TEXT NOT NULL, cursor INTEGER NOT NULL,
            begun INTEGER NOT NULL,  -- whether it was told where it begins
            late INTEGER NOT NULL    -- whether that is not with everything
        );
        CREATE TABLE conversation (
            conv_id TEXT PRIMARY KEY,
            head INTEGER NOT NULL,     -- the last SeqId that is known to exist
            through INTEGER NOT NULL,  -- up to here nothing is missing
            shown INTEGER NOT NULL,    -- up to here it was shown
            mode TEXT, mode_seq INTEGER NOT NULL,
            start INTEGER NOT NULL,    -- from here on it is shown
            joined INTEGER NOT NULL    -- the last entry that let its owner in
        ) WITHOUT ROWID;
        CREATE INDEX with_gaps ON conversation (conv_id) WHERE through < head;
        CREATE INDEX to_show ON conversation (conv_id) WHERE shown < through;
        CREATE INDEX pulled ON conversation (conv_id) WHERE mode = 'pull';
        CREATE TABLE reading (
            conv_id TEXT PRIMARY KEY,
            end_seq INTEGER NOT NULL,   -- the last entry that anything told of
            messages INTEGER NOT NULL,  -- up to there
            mark INTEGER NOT NULL,      -- up to here it was read
            counted INTEGER             -- messages up to there; null if that was not told
        ) WITHOUT ROWID;
        CREATE INDEX uncounted ON reading (conv_id) WHERE counted IS NULL;
        CREATE TABLE altered (
            conv_id TEXT NOT NULL, seq INTEGER NOT NULL,
            edited_by INTEGER NOT NULL,  -- the last edit, 0 if there is none
            recalled INTEGER NOT NULL,
            PRIMARY KEY (conv_id, seq)
        ) WITHOUT ROWID;
        CREATE TABLE item (
            conv_id TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
            hole TEXT, json BLOB NOT NULL,
            PRIMARY KEY (conv_id, first)
        ) WITHOUT ROWID;
    """,
    version=4,
    synchronous="NORMAL",
)


def open_file(path: Path, user: str, device_id: str) -> sqlite3.Connection:
    """Opens the file of one device, and makes it if it is missing.

    Raises:
        ConfigurationError: It cannot be opened, is in use, or belongs to another device.
    """

    def claim(db: sqlite3.Connection) -> None:
        with db:
            owner = (0, user, device_id, BEFORE_ALL)
            db.execute("INSERT OR IGNORE INTO device VALUES (?, ?, ?, ?, 0, 0)", owner)
        found = db.execute("SELECT user_id, device_id FROM device").fetchone()
        if found != (user, device_id):
            raise ConfigurationError(f"the local store {path} is of another user or device")
        # A process that ended after a recall may have left the text in the journal.
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    return open_own_file(path, _FILE, claim)
