"""The outbox: unsettled commands, in order, in a SQLite file.

The file stores the commands only, not whether the broker has acknowledged them. After a restart,
every stored command is sent again, which is harmless: the sequencer answers a repeated command
with its first SeqId. So a command costs one insert and one delete.

`synchronous=FULL`: "queued" is a promise to a person, and survives a power cut. The cost is one
fsync for each call, not for each command: a batch pays it once.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from backends.processes.own_file import OwnFile, open_own_file
from schemas.errors import (
    OutboxFull,
    OutboxInUse,
    PublisherClosed,
    TransientFailure,
)

CAPACITY: Final = 10_000
"""Commands; a person who is offline for a day writes fewer."""

_INSTALLATION_BYTES: Final = 12
"""16 characters. They distinguish the installations of one device."""

_FILE: Final = OwnFile(
    name="the outbox",
    schema="""
        CREATE TABLE command (position INTEGER PRIMARY KEY, value BLOB NOT NULL);
        CREATE TABLE last_id (only INTEGER PRIMARY KEY CHECK (only = 0), id TEXT NOT NULL);
        CREATE TABLE installation (only INTEGER PRIMARY KEY CHECK (only = 0), id TEXT NOT NULL);
    """,
    version=2,
    synchronous="FULL",
    in_use=OutboxInUse,
)


class Queued(NamedTuple):
    """One stored command: its position in the order, and its encoded bytes."""

    position: int
    value: bytes


class Outbox:
    """Stores commands until they are settled. One process at a time; thread-safe.

    ``installation`` is a random id, created with the file. Command ids grow as long as the file
    exists; a new file begins a new installation, whose ids may be lower.

    Args:
        path: The file. The file and its folder are created if they are missing.
        capacity: Maximum number of commands.

    Raises:
        TransientFailure: The disk does not accept the contents of a new file.
        OutboxInUse: Another process, or another `Outbox`, has the file open.
        ConfigurationError: The file cannot be opened, or is not an outbox of this version.
    """

    def __init__(self, path: Path, capacity: int = CAPACITY) -> None:
        self._path = path
        self._capacity = capacity
        self._lock = threading.Lock()
        self._open = True
        self._db = open_own_file(path, _FILE)
        count, last = self._db.execute("SELECT count(*), max(position) FROM command").fetchone()
        self.installation = self._installation()
        self._count: int = count
        self._last_position: int = last or 0

    def __len__(self) -> int:
        """Return the number of unsettled commands."""
        return self._count

    @property
    def last_id(self) -> str | None:
        """The greatest id that this client has generated for a command."""
        with self._lock:
            row = self._db.execute("SELECT id FROM last_id").fetchone()
        if row is None:
            return None
        (last_id,) = row
        return str(last_id)

    def put(self, values: Sequence[bytes], last_id: str | None = None) -> range:
        """Append commands: all of them, or none.

        Args:
            values: The encoded commands, in order.
            last_id: The greatest id among them, if the client's own generator made it.

        Returns:
            The positions of the commands.

        Raises:
            OutboxFull: The commands exceed the capacity.
            TransientFailure: The disk does not accept the write.
        """
        with self._lock:
            if self._count + len(values) > self._capacity:
                raise OutboxFull(f"the outbox holds {self._count} of {self._capacity} commands")
            positions = range(self._last_position + 1, self._last_position + 1 + len(values))
            with self._transaction() as db:
                db.executemany(
                    "INSERT INTO command VALUES (?, ?)", zip(positions, values, strict=True)
                )
                if last_id is not None:
                    db.execute("INSERT OR REPLACE INTO last_id VALUES (0, ?)", (last_id,))
            self._count += len(values)
            self._last_position += len(values)
        return positions

    def remove(self, positions: Iterable[int]) -> None:
        """Delete settled commands; unknown positions are ignored.

        Raises:
            TransientFailure: The disk does not accept the write.
        """
        with self._lock, self._transaction() as db:
            removed = db.executemany(
                "DELETE FROM command WHERE position = ?", ((position,) for position in positions)
            )
            self._count -= removed.rowcount

    def pending(self) -> list[Queued]:
        """Return all unsettled commands, in order."""
        with self._lock:
            rows = self._db.execute("SELECT position, value FROM command ORDER BY position")
            return [Queued(*row) for row in rows]

    def _installation(self) -> str:
        with self._transaction() as db:
            fresh = secrets.token_urlsafe(_INSTALLATION_BYTES)
            db.execute("INSERT OR IGNORE INTO installation VALUES (0, ?)", (fresh,))
            (installation,) = db.execute("SELECT id FROM installation").fetchone()
            return str(installation)

    def close(self) -> None:
        """Close the file, so that another process can open it. May be called again."""
        with self._lock:
            if self._open:
                self._open = False
                self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        if not self._open:
            raise PublisherClosed("the outbox is closed")
        try:
            with self._db:
                yield self._db
        except sqlite3.OperationalError as error:
            raise TransientFailure(
                f"the outbox {self._path} cannot be written: {error}"
            ) from error
