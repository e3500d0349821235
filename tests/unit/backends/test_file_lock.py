"""The lock between processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from backends.processes.file_lock import file_lock
from schemas.errors import ConfigurationError

_HOLD = """
import sys
from pathlib import Path
from backends.processes.file_lock import file_lock
with file_lock(Path(sys.argv[1]), "held"):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_killed_process_does_not_leave_the_lock(tmp_path: Path) -> None:
    """Another process is refused at once, with the given message, until the holder is killed."""
    path = tmp_path / "x.lock"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(ConfigurationError, match="it is held"), file_lock(path, "it is held"):
            pass
        holder.kill()
    with file_lock(path, "it is held"):
        assert path.exists()


def test_a_lock_can_be_held_again(tmp_path: Path) -> None:
    """The end of the block, and also an error in it, releases the lock."""
    path = tmp_path / "x.lock"
    with pytest.raises(ZeroDivisionError), file_lock(path, "held"):
        raise ZeroDivisionError
    with file_lock(path, "held"):
        pass
