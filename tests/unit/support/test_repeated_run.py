"""CI repeats a failed test on servers once, and forgives nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.repeated_run import MOST_REPEATED, ON_SERVERS, run_all, run_pytest

ON_SERVER = "tests/integration/test_push.py::test_a[1]"


class Runs:
    """Runs of pytest: the exit code of each, and the tests that fail in the first."""

    def __init__(self, file: Path, codes: Sequence[int], failed: Sequence[str] = ()) -> None:
        self.file = file
        self.codes = list(codes)
        self.failed = failed
        self.arguments: list[list[str]] = []

    def __call__(self, arguments: Sequence[str]) -> int:
        """Write the failed tests as pytest does."""
        if not self.arguments and self.failed:
            self.file.write_text(json.dumps(dict.fromkeys(self.failed, True)))
        self.arguments.append(list(arguments))
        return self.codes[len(self.arguments) - 1]


@pytest.mark.parametrize("second", [0, 1])
def test_a_failed_test_on_servers_runs_once_more(tmp_path: Path, second: int) -> None:
    """The result of the repetition is the result of the run."""
    file = tmp_path / "failed"
    runs = Runs(file, [1, second], [ON_SERVER])
    assert run_all(["-n4"], runs, file) == second
    assert runs.arguments == [["-n4"], ["-v", ON_SERVER]]


@pytest.mark.parametrize(
    "failed",
    [
        ["tests/unit/ops/test_cli.py::test_a"],
        [ON_SERVER, "tests/property/test_core.py::test_a"],
        ["tests/integration/test_push.py"],
        [f"{ON_SERVER}{number}" for number in range(MOST_REPEATED + 1)],
        [],
    ],
    ids=["unit", "one of two on servers", "a file that has an error", "many", "none"],
)
def test_other_failures_fail_the_run(tmp_path: Path, failed: list[str]) -> None:
    """A failure that has another cause than the load of the machine is not repeated."""
    file = tmp_path / "failed"
    runs = Runs(file, [1], failed)
    assert run_all([], runs, file) == 1


@pytest.mark.parametrize("code", [0, 2, 3, 4, 5])
def test_an_incomplete_run_fails(tmp_path: Path, code: int) -> None:
    """Only a complete run says which tests failed; the file of an earlier run does not count."""
    file = tmp_path / "failed"
    file.write_text(json.dumps({ON_SERVER: True}))
    assert run_all([], Runs(file, [code], [ON_SERVER]), file) == code
    file.write_text(json.dumps({ON_SERVER: True}))
    assert run_all([], Runs(file, [1]), file) == 1


def test_pytest_writes_the_file(tmp_path: Path) -> None:
    """The real pytest names failed tests, and skips a test that passed when it was repeated."""
    test = tmp_path / "tests/integration/test_once.py"
    test.parent.mkdir(parents=True)
    test.write_text(
        "from pathlib import Path\n"
        "def test_once():\n"
        "    was_there = Path('there').exists()\n"
        "    Path('there').touch()\n"
        "    assert was_there\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n")

    def pytest_there(arguments: Sequence[str]) -> int:
        return run_pytest(arguments, tmp_path)

    last_failed = tmp_path / ".pytest_cache/v/cache/lastfailed"
    assert run_all(["tests"], pytest_there, last_failed) == 0
    (tmp_path / "there").unlink()
    test.write_text("def test_always():\n    assert False\n")
    assert run_all(["tests"], pytest_there, last_failed) == 1


def test_each_folder_has_a_place() -> None:
    """A new folder of tests is repeated, or is not, because somebody decided it."""
    folders = {each.parent.name for each in Path("tests").glob("*/test_*.py")}
    assert folders - {"unit", "property"} == set(ON_SERVERS)
