"""The file of a device that dies between any two of its statements."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any, Self, cast

from consumers.device.local_store import LocalStore
from tests.support.killing import Killed
from tests.support.local_world import DEVICE, ME


class DyingConnection:
    """A connection whose process dies before a certain step; the file keeps its present state.

    Args:
        db: The real connection.
        steps: Statements and commits that still succeed.
        path: The file of the database.
        grave: Folder for a copy of the file, in the state that ``kill -9`` leaves.
    """

    def __init__(self, db: sqlite3.Connection, steps: int, path: Path, grave: Path) -> None:
        self.real = db
        self.steps = steps
        self._path = path
        self._grave = grave

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        """See `sqlite3.Connection`."""
        self._step()
        return self.real.execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        """See `sqlite3.Connection`."""
        self._step()
        return self.real.executemany(*arguments)

    def close(self) -> None:
        """See `sqlite3.Connection`."""
        self.real.close()

    def __enter__(self) -> Self:
        self.real.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if error[0] is None:
                self._step()
        except Killed:
            self.real.rollback()
            raise
        self.real.__exit__(*error)  # type: ignore[arg-type]

    def _step(self) -> None:
        if self.steps == 0:
            if not self._grave.exists():
                copy_killed(self._path, self._grave)
            raise Killed
        self.steps -= 1


def copy_killed(path: Path, grave: Path) -> None:
    """Copies a database in its current state on the disk, including open transactions."""
    grave.mkdir(parents=True)
    for suffix in ("", "-wal"):
        file = path.with_name(path.name + suffix)
        if file.exists():
            shutil.copy(file, grave / file.name)


class DeviceFiles:
    """The disk of a device: the files of its local store after each crash."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lives = 0
        self.store = self._open()

    @property
    def path(self) -> Path:
        """The file of the current process."""
        return self._folder / str(self._lives) / "local.db"

    def die_after(self, steps: int) -> None:
        """Lets the process die after this number of steps on the database."""
        grave = self._folder / str(self._lives + 1)
        db: object = self.store._db  # noqa: SLF001 - the only way to stop it there
        if isinstance(db, DyingConnection):
            db.steps = steps
        elif isinstance(db, sqlite3.Connection):
            dying = DyingConnection(db, steps, self.path, grave)
            self.store._db = cast(sqlite3.Connection, dying)  # noqa: SLF001

    def cursor(self) -> int:
        """The cursor in the file."""
        (cursor,) = self._real().execute("SELECT cursor FROM device").fetchone()
        return int(cursor)

    def stored(self) -> set[tuple[str, int]]:
        """All entries that are or were in the file, whether or not the device may show them."""
        entries = "SELECT conv_id, first FROM item WHERE hole IS NULL OR hole = 'recalled'"
        return set(self._real().execute(entries))

    def start_again(self) -> None:
        """Starts the next process with the file that the last process left."""
        grave = self._folder / str(self._lives + 1)
        if not grave.exists():
            copy_killed(self.path, grave)
        self.store.close()
        self._lives += 1
        self.store = self._open()

    def _real(self) -> sqlite3.Connection:
        db: object = self.store._db  # noqa: SLF001 - bypasses DyingConnection
        assert isinstance(db, sqlite3.Connection | DyingConnection)
        return db.real if isinstance(db, DyingConnection) else db

    def _open(self) -> LocalStore:
        return LocalStore(self.path, ME, DEVICE)
