"""The file of a local store: its tables and its owner.

`synchronous=NORMAL`: a power cut may undo the last transactions. Entries and cursor are written in
the same transaction, so the device receives the lost records again.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from backends.processes.own_file import OwnFile, open_own_file
from consumers.device.description_rows import DESCRIPTION_TABLE
from consumers.device.knowledge import BEFORE_ALL
from consumers.device.mute_rows import MUTE_TABLE
from schemas.errors import ConfigurationError

_FILE: Final = OwnFile(
    name="the local store",
    schema="""
        CREATE TABLE device (
            only_row INTEGER PRIMARY KEY CHECK (only_row = 0),
            user_id TEXT NOT NULL, device_id TEXT NOT NULL, cursor INTEGER NOT NULL,
            begun INTEGER NOT NULL,  -- whether the start positions are stored
            late INTEGER NOT NULL    -- whether entries before the start are not shown
        );
        CREATE TABLE conversation (
            conv_id TEXT PRIMARY KEY,
            head INTEGER NOT NULL,     -- the last SeqId that is known to exist
            through INTEGER NOT NULL,  -- nothing is missing up to here
            shown INTEGER NOT NULL,    -- everything up to here was shown
            mode TEXT, mode_seq INTEGER NOT NULL,
            start INTEGER NOT NULL,    -- the first SeqId that is shown
            joined INTEGER NOT NULL    -- the last entry that let the owner in
        ) WITHOUT ROWID;
        CREATE INDEX with_gaps ON conversation (conv_id) WHERE through < head;
        CREATE INDEX to_show ON conversation (conv_id) WHERE shown < through;
        CREATE INDEX pulled ON conversation (conv_id) WHERE mode = 'pull';
        CREATE TABLE reading (
            conv_id TEXT PRIMARY KEY,
            end_seq INTEGER NOT NULL,   -- the last known entry
            messages INTEGER NOT NULL,  -- number of messages up to end_seq
            mark INTEGER NOT NULL,      -- the read mark
            counted INTEGER             -- number of messages up to the mark; null if unknown
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
    """Open the file of one device; create it if it is missing.

    Raises:
        ConfigurationError: The file cannot be opened, is in use, or belongs to another device.
    """

    def claim(db: sqlite3.Connection) -> None:
        with db:
            owner = (0, user, device_id, BEFORE_ALL)
            db.execute(
                "INSERT OR IGNORE INTO device (only_row, user_id, device_id, cursor, begun, late)"
                " VALUES (?, ?, ?, ?, 0, 0)",
                owner,
            )
            db.execute(DESCRIPTION_TABLE)
            db.execute(MUTE_TABLE)
        owner_row = db.execute("SELECT user_id, device_id FROM device").fetchone()
        if owner_row != (user, device_id):
            raise ConfigurationError(f"the local store {path} is of another user or device")
        # A process that died after a recall may have left the text in the write-ahead log.
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    return open_own_file(path, _FILE, claim)
