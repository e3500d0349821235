"""A SQLite file that one process has to itself: how it is made and opened.

Every transaction is IMMEDIATE. Any thread may use the connection, one at a time.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, NamedTuple

from schemas.errors import ConfigurationError, ImError

_FILE_MODE: Final = 0o600
"""Readable by the owner alone, whatever the umask. SQLite gives its other files the same mode."""

_FOLDER_MODE: Final = 0o700


class OwnFile(NamedTuple):
    """A kind of file.

    Args:
        name: What errors call it, such as ``the outbox``.
        schema: The statements that make its tables.
        version: Of that schema; another one is refused.
        synchronous: ``FULL`` where what was committed outlives a power cut, ``NORMAL`` where the
            last of it may come again.
        in_use: The error where another process has the file.
    """

    name: str
    schema: str
    version: int
    synchronous: Literal["FULL", "NORMAL"]
    in_use: type[ImError] = ConfigurationError


def _nothing(db: sqlite3.Connection) -> None:
    del db


def open_own_file(
    path: Path, kind: OwnFile, prepare: Callable[[sqlite3.Connection], None] = _nothing
) -> sqlite3.Connection:
    """Opens a file, and makes it and its folder if they are missing, for their owner alone.

    Args:
        path: The file.
        kind: What it is.
        prepare: What is to be done with it before it can be used. If that fails, it is closed.

    Raises:
        ConfigurationError: It cannot be opened, or is of another version.
        ImError: It is in use; as the kind says.
    """
    try:
        path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        _make(path)
        db = sqlite3.connect(path, timeout=0, isolation_level="IMMEDIATE", check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise ConfigurationError(f"{kind.name} {path} cannot be opened: {error}") from error
    try:
        _take(db, path, kind)
        prepare(db)
    except sqlite3.Error as error:
        db.close()
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise kind.in_use(f"{kind.name} {path} is in use: give each process its own") from None
        raise ConfigurationError(f"{kind.name} {path} cannot be opened: {error}") from error
    except BaseException:
        db.close()
        raise
    return db


def _make(path: Path) -> None:
    """Makes the file, unless it is there. A file that is there is not opened.

    To close a descriptor of it would end the locks that this process has on it.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _FILE_MODE))


def _take(db: sqlite3.Connection, path: Path, kind: OwnFile) -> None:
    # The lock is the file's own: it ends with the process, however that ends.
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA secure_delete = ON")  # what is taken out is not left in free pages
    db.execute(f"PRAGMA synchronous = {kind.synchronous}")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == 0:
        db.executescript(f"BEGIN; {kind.schema} PRAGMA user_version = {kind.version}; COMMIT;")
    elif version != kind.version:
        raise ConfigurationError(f"{kind.name} {path} is of version {version}, unknown here")
