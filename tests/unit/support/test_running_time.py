"""The clock for bounds within a process: a blocked thread counts, a paused process does not."""

from __future__ import annotations

import subprocess
import sys
import time

from tests.support.processes import ROOT
from tests.support.running_time import running_time

PAUSED = """
import os, subprocess, time
from tests.support.running_time import running_time
with running_time() as clock:
    began, before = time.monotonic(), clock()
    pid = os.getpid()
    subprocess.run(["sh", "-c", f"kill -STOP {pid}; sleep 2; kill -CONT {pid}"], check=True)
    print(time.monotonic() - began - (clock() - before))
"""


def test_a_pause_of_the_process_does_not_count() -> None:
    """Of a pause of two seconds, the clock counts a small part at most."""
    run = subprocess.run(
        [sys.executable, "-c", PAUSED], cwd=ROOT, capture_output=True, text=True, check=True,
        timeout=60,
    )  # fmt: skip
    assert float(run.stdout) > 1.5


def test_the_time_of_a_blocked_thread_counts() -> None:
    """The clock goes on while the thread of the test waits or computes."""
    with running_time() as clock:
        for _ in range(60):
            before = clock()
            time.sleep(0.5)
            if clock() - before > 0.3:
                break
        else:
            raise AssertionError("the clock stands still while the thread waits")
        before, began = clock(), time.thread_time()
        while time.thread_time() - began < 0.5:
            pass
        assert clock() - before > 0.45
