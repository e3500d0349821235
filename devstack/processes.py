"""Finds and ends the processes of a stack, even if their supervisor is gone.

``python -m devstack.processes FOLDER`` ends the processes of every stack in or below a folder.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

STACK_VARIABLE: Final = "IM_STACK"
"""Set for the supervisor and all its children, to identify the processes of a stack."""


def processes_of(root: Path) -> list[psutil.Process]:
    """Return every living process of the stack in this folder, supervisor included."""
    return [process for process in psutil.process_iter() if _stack_of(process) == str(root)]


def processes_below(folder: Path) -> list[psutil.Process]:
    """Return every living process of the stacks in this folder or below it."""
    return [p for p in psutil.process_iter() if Path(_stack_of(p)).is_relative_to(folder)]


def end(processes: Iterable[psutil.Process], seconds: float) -> None:
    """Terminate processes; kill those that are alive after ``seconds``, and wait as long again."""
    asked = list(processes)
    for process in asked:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(asked, timeout=seconds)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=seconds)


def _stack_of(process: psutil.Process) -> str:
    """Return the stack folder of a living process; empty if it belongs to no stack."""
    try:
        zombie = process.status() == psutil.STATUS_ZOMBIE
        return "" if zombie else process.environ().get(STACK_VARIABLE, "")
    except (psutil.Error, OSError):
        return ""  # another user's process, or one that has ended


if __name__ == "__main__":
    end(processes_below(Path(sys.argv[1]).absolute()), seconds=20)
