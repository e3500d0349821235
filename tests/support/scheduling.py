"""The number of workers of a parallel run (pytest-xdist), and the tests that share a worker."""

from __future__ import annotations

import os
from typing import Final

from xdist.scheduler import LoadFileScheduling

_FAULTS: Final = ("backup", "broker", "gateway", "gateway_writing", "health", "pipeline", "sinks")
_OF_ONE_STACK: Final = frozenset(f"tests/faults/test_{name}.py" for name in _FAULTS)
"""Tests that stop and kill the servers of one stack, which they share.

A stack takes some 20 s of processor time to start, and 4 s in each minute while it is idle.
"""

_END_TO_END: Final = "tests/e2e/"
"""Tests of one deployment, which they share."""

_MOST_WORKERS: Final = 8
"""Maximum number of workers; more would wait for the single set of servers."""


def worker_count() -> int:
    """Two more than the number of cores: many tests wait for a server, or for time to pass."""
    return min((os.cpu_count() or 1) + 2, _MOST_WORKERS)


class FilesTogether(LoadFileScheduling):  # type: ignore[misc]  # has no types
    """Groups the tests of a file, which share deployments, and the files that share one stack."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        if file.startswith(_END_TO_END):
            return _END_TO_END
        return "one stack" if file in _OF_ONE_STACK else file
