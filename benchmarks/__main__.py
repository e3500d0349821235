"""`make bench`: all benchmarks, one after the other, on their own servers.

    python -m benchmarks [NAME …]

Prints a line for each figure. A run without names also writes ``docs/benchmarks/``.
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

from benchmarks import (
    delay,
    gateway_tail,
    growth,
    live_connections,
    live_memory,
    neighbours,
    pages,
    posting,
    push,
    report,
    sequencer,
    sync_sink,
)
from benchmarks.results import Figure, Report
from tests.support.servers import addresses, private_folder, private_stack

_VARIABLES: Final = {
    "kafka_bootstrap": "IM_KAFKA_BOOTSTRAP",
    "cassandra_hosts": "IM_CASSANDRA_HOSTS",
}

_BENCHMARKS: Final[Mapping[str, Callable[[], Iterator[Figure]]]] = {
    # First: the other benchmarks leave gigabytes that the disk still has to write.
    "delay": delay.figures,
    "posting": posting.figures,
    "neighbours": neighbours.figures,
    "sequencer": sequencer.figures,
    "growth": growth.figures,
    "sync-sink": sync_sink.figures,
    "skipping": sync_sink.skipping,
    "push": push.figures,
    "pages": pages.figures,
    "live-connections": live_connections.figures,
    "live-memory": live_memory.figures,
    "gateway-tail": gateway_tail.figures,
}


@contextmanager
def servers() -> Iterator[None]:
    """A fresh Kafka and Cassandra on free ports, or the servers that the environment names."""
    if all(name in os.environ for name in _VARIABLES.values()):
        yield
        return
    with private_folder() as home:
        shutil.rmtree(home / "data", ignore_errors=True)
        stack = private_stack(home, ["kafka", "cassandra"])
        stack.up()
        found = addresses(stack)
        os.environ |= {name: found[field] for field, name in _VARIABLES.items()}
        try:
            yield
        finally:
            stack.down()


def main() -> None:
    """Runs the benchmarks named on the command line, or all."""
    names = sys.argv[1:] or list(_BENCHMARKS)
    figures: list[Figure] = []
    with servers():
        for name in names:
            for figure in _BENCHMARKS[name]():
                figures.append(figure)
                print(report.line(figure), flush=True)
    if not sys.argv[1:]:
        report.write(Report(_commit(), _machine(), figures))


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
