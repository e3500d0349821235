"""The contract of `CursorStore`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from consumers.cursor import CursorStore, FileCursors, MemoryCursors
from schemas.errors import ConfigurationError, TransientFailure
from schemas.number_types import SyncSeqId
from schemas.sync_seq import MAX_SYNC_SEQ


@pytest.fixture(params=["memory", "file"])
def cursors(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CursorStore]:
    """Each of the stores, empty."""
    if request.param == "memory":
        yield MemoryCursors()
        return
    with closing(FileCursors(tmp_path / "deep" / "cursors.db")) as store:
        yield store


def test_each_device_has_its_own_cursor(cursors: CursorStore) -> None:
    """The cursor of a device never changes that of another device or person."""
    assert cursors.load("ann", "phone") is None
    cursors.save("ann", "phone", SyncSeqId(7))
    cursors.save("ann", "desk", SyncSeqId(3))
    cursors.save("陈 |x", "phone", MAX_SYNC_SEQ)
    assert cursors.load("ann", "phone") == 7
    assert cursors.load("ann", "desk") == 3
    assert cursors.load("陈 |x", "phone") == MAX_SYNC_SEQ
    assert cursors.load("bob", "phone") is None


def test_a_cursor_only_moves_forward(cursors: CursorStore) -> None:
    """A lower cursor changes nothing, and 0 is a cursor, too."""
    cursors.save("ann", "phone", SyncSeqId(0))
    assert cursors.load("ann", "phone") == 0
    for place in (5, 3, 5, 4):
        cursors.save("ann", "phone", SyncSeqId(place))
    assert cursors.load("ann", "phone") == 5


def test_a_deleted_cursor_starts_again_without_a_position(cursors: CursorStore) -> None:
    """Only this device's cursor is forgotten, and a second call has no effect."""
    cursors.save("ann", "phone", SyncSeqId(9))
    cursors.save("ann", "desk", SyncSeqId(9))
    cursors.forget("ann", "phone")
    cursors.forget("ann", "phone")
    assert cursors.load("ann", "phone") is None
    assert cursors.load("ann", "desk") == 9
    cursors.save("ann", "phone", SyncSeqId(2))
    assert cursors.load("ann", "phone") == 2


def test_several_threads_can_share_a_cursor_store(cursors: CursorStore) -> None:
    """After saves by several threads, the highest cursor is stored."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda place: cursors.save("ann", "phone", place), range(200)))
    assert cursors.load("ann", "phone") == 199


def test_a_cursor_file_is_readable_after_its_process_has_ended(tmp_path: Path) -> None:
    """Two stores on one file, also at the same time, have the same cursors."""
    path = tmp_path / "cursors.db"
    with closing(FileCursors(path)) as first, closing(FileCursors(path)) as second:
        first.save("ann", "phone", SyncSeqId(7))
        assert second.load("ann", "phone") == 7
        second.save("ann", "phone", SyncSeqId(8))
        assert first.load("ann", "phone") == 8


@pytest.mark.parametrize("spoil", [Path.mkdir, lambda path: path.write_bytes(b"no database" * 99)])
def test_an_error_names_the_file_that_cannot_be_opened(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    """A file that cannot be opened is a `ConfigurationError` with the file's name."""
    path = tmp_path / "cursors.db"
    spoil(path)
    with pytest.raises(ConfigurationError, match=r"cursors\.db"):
        FileCursors(path)


def test_a_locked_file_is_a_transient_failure(tmp_path: Path) -> None:
    """A locked file is a temporary failure, and the cursor can be saved later."""
    path = tmp_path / "cursors.db"
    with closing(FileCursors(path)) as store, closing(FileCursors(path)) as other:
        other._db.execute("PRAGMA busy_timeout = 50")  # noqa: SLF001 - for a short wait
        store._db.execute("BEGIN IMMEDIATE")  # noqa: SLF001 - lock the file
        with pytest.raises(TransientFailure):
            other.save("ann", "phone", SyncSeqId(1))
        store._db.execute("ROLLBACK")  # noqa: SLF001 - release the lock
        other.save("ann", "phone", SyncSeqId(1))
        assert store.load("ann", "phone") == 1
