"""A lock between processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import Timeout, UnixFileLock

from schemas.errors import ConfigurationError


@contextmanager
def file_lock(path: Path, held: str, wait_seconds: float = 0) -> Iterator[None]:
    """Holds an exclusive lock on a file. The kernel releases the lock if the process dies.

    Args:
        path: The file. The lock creates the file and does not remove the file.
        held: The message of the error if another process holds the lock.
        wait_seconds: Maximum wait for the lock.

    Raises:
        ConfigurationError: Another process holds the lock.
        OSError: The file cannot be opened or locked.
    """
    # A soft lock is a file that remains after a crash.
    lock = UnixFileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=wait_seconds)
    except Timeout:
        raise ConfigurationError(held) from None
    try:
        yield
    finally:
        lock.release()
