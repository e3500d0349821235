"""Creates and opens a SQLite file for the exclusive use of one process.

Every transaction is IMMEDIATE. Any thread may use the connection, one thread at a time.
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
"""Only the owner may read, with any umask. SQLite gives its other files the same mode."""

_FOLDER_MODE: Final = 0o700


class OwnFile(NamedTuple):
    """A kind of file.

    Args:
        name: The name in errors, such as ``the outbox``.
        schema: The statements that create its tables.
        version: The version of the schema; a file of another version is refused.
        synchronous: ``FULL`` if commits must survive a power failure, ``NORMAL`` if the last
            commits can be repeated.
        in_use: The error if another process has the file open.
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
    """Opens a file. Creates the file and its folder if they are missing, for the owner alone.

    Args:
        path: The file.
        kind: The kind of the file.
        prepare: Called with the connection before it is returned. If the call fails, the
            connection is closed.

    Raises:
        ConfigurationError: The file cannot be opened, or has another version.
        ImError: The file is in use; the error is ``kind.in_use``.
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
    """Creates the file, unless it exists. An existing file is not opened here.

    Closing a descriptor of the file would release the locks that this process holds on it.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _FILE_MODE))


def _take(db: sqlite3.Connection, path: Path, kind: OwnFile) -> None:
    # The lock belongs to the file: it ends with the process, even after a crash.
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA secure_delete = ON")  # deleted content does not remain in free pages
    db.execute(f"PRAGMA synchronous = {kind.synchronous}")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == 0:
        db.executescript(f"BEGIN; {kind.schema} PRAGMA user_version = {kind.version}; COMMIT;")
    elif version != kind.version:
        raise ConfigurationError(f"{kind.name} {path} is of version {version}, unknown here")
