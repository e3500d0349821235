"""`make bench`: all benchmarks, one after the other, on servers of their own.

    python -m benchmarks [NAME …]

Prints a line for each figure. A run of all writes ``docs/benchmarks/``, too.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from benchmarks import delay, neighbours, page, sequencer
from benchmarks.results import Figure, Report
from tests.support.servers import addresses, private_folder, private_stack

_VARIABLE: Final = "IM_KAFKA_BOOTSTRAP"

_BENCHMARKS: Final[Mapping[str, Callable[[], Iterator[Figure]]]] = {
    # First: the others leave gigabytes that the disk still has to write.
    "delay": delay.figures,
    "neighbours": neighbours.figures,
    "sequencer": sequencer.figures,
}


@contextmanager
def kafka() -> Iterator[None]:
    """A fresh broker on a free port, or the one that IM_KAFKA_BOOTSTRAP names."""
    if _VARIABLE in os.environ:
        yield
        return
    with private_folder() as home:
        shutil.rmtree(home / "data", ignore_errors=True)
        stack = private_stack(home, ["kafka"])
        stack.up()
        os.environ[_VARIABLE] = addresses(stack)["kafka_bootstrap"]
        try:
            yield
        finally:
            stack.down()


def main() -> None:
    """Runs the benchmarks that are named, or all."""
    names = sys.argv[1:] or list(_BENCHMARKS)
    figures: list[Figure] = []
    with kafka():
        for name in names:
            for figure in _BENCHMARKS[name]():
                figures.append(figure)
                print(page.line(figure), flush=True)
    if not sys.argv[1:]:
        page.write(Report(_commit(), _machine(), figures))


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(  # noqa: S603 - a fixed command
        command, check=False, capture_output=True, text=True
    )
    return done.stdout.strip() or "an unknown version"


def _machine() -> str:
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"


if __name__ == "__main__":
    main()
