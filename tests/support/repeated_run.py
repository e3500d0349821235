"""Runs all tests as CI does: a failed test on real servers runs once more, without other tests.

The tests on servers share the machine with each other. On a slow machine, one of some thousands
may fail because a server or a process did not get the processor in time. Such a test passes when
it runs without other tests. A test that fails twice fails the run.

Unit and property tests use no server, so they are not repeated. Many failures are not repeated
either: they have another cause than the load. See ADR 63.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tests.support.processes import ROOT

MOST_REPEATED: Final = 5
"""Maximum number of failed tests that are repeated."""

ON_SERVERS: Final = ("contract", "e2e", "faults", "integration", "security")
"""The folders of tests on real servers."""

TESTS_FAILED: Final = 1
"""The exit code of pytest after a complete run with failed tests."""

LAST_FAILED: Final = ROOT / ".pytest_cache/v/cache/lastfailed"
"""Where pytest writes the ids of failed tests, as the keys of a JSON object."""

Pytest = Callable[[Sequence[str]], int]
"""Runs pytest with these arguments, and returns its exit code."""


def run_pytest(arguments: Sequence[str], folder: Path = ROOT) -> int:
    """Run pytest in a process of its own.

    Args:
        arguments: The arguments after ``pytest``.
        folder: The working directory.

    Returns:
        The exit code.
    """
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, cwd=folder, check=False).returncode


def can_be_repeated(failed: Sequence[str]) -> bool:
    """Whether the load of the machine may be the cause of these failures.

    Args:
        failed: The ids of failed tests.
    """
    folders = tuple(f"tests/{folder}/" for folder in ON_SERVERS)
    return 0 < len(failed) <= MOST_REPEATED and all(
        test.startswith(folders) and "::" in test for test in failed
    )


def run_all(arguments: Sequence[str], pytest: Pytest, last_failed: Path) -> int:
    """Run all tests, and repeat the failed ones if the load may be the cause.

    Args:
        arguments: The arguments of the first run.
        pytest: Runs pytest.
        last_failed: The file in which pytest writes the ids of failed tests.

    Returns:
        The exit code of the run, or of the repetition.
    """
    last_failed.unlink(missing_ok=True)
    code = pytest(arguments)
    if code != TESTS_FAILED or not last_failed.exists():
        return code
    failed = sorted(json.loads(last_failed.read_text()))
    if not can_be_repeated(failed):
        return code
    report([f"{len(failed)} failed tests on servers run once more, without other tests:", *failed])
    repeated = pytest(["-v", *failed])
    report(["Passed when repeated:" if repeated == 0 else "At least one failed twice:", *failed])
    return repeated


def report(lines: Sequence[str]) -> None:
    """Write lines between the outputs of two runs."""
    sys.stdout.write("\n  ".join(lines) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(run_all(sys.argv[1:], run_pytest, LAST_FAILED))
