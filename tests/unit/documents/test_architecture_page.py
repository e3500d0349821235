"""The architecture page names files and functions that exist."""

from __future__ import annotations

import re
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[3]
PAGE: Final = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
STEPS: Final = re.findall(r"^\| (\d+) \| `([\w/]+)\.py` \| `([\w.]+)` \|", PAGE, re.MULTILINE)


def test_the_steps_are_numbered() -> None:
    """The pattern of the other test matches every numbered step of the page."""
    assert [int(number) for number, _, _ in STEPS] == list(range(1, len(STEPS) + 1))
    assert len(STEPS) == len(re.findall(r"^\| \d+ \|", PAGE, re.MULTILINE))


@pytest.mark.parametrize(("file", "name"), sorted({(file, name) for _, file, name in STEPS}))
def test_each_step_exists(file: str, name: str) -> None:
    """The file of a step defines the function or class that the step names."""
    module = file.removeprefix("clients/python/src/").replace("/", ".")

    assert attrgetter(name)(import_module(module)).__module__ == module


def test_the_table_of_changes_has_ten_changes_with_files() -> None:
    """Each row of "Where to change what" names at least one file, and there are ten rows."""
    table = PAGE.partition("## Where to change what")[2]
    rows = re.findall(r"^\| (another [^|]+) \| ([^|]+) \|", table, re.MULTILINE)

    assert len(rows) >= 10
    assert [change for change, files in rows if "/" not in files] == []


def test_each_name_of_the_table_of_changes_is_in_its_file() -> None:
    """A name in parentheses after a file occurs in the file."""
    table = PAGE.partition("## Where to change what")[2]
    named = re.findall(r"`([\w/]+\.py)` \(([^)]*)\)", table)
    pairs = [(file, name) for file, names in named for name in re.findall(r"`(\w+)`", names)]

    assert len(pairs) >= 10
    missing = [
        (file, name)
        for file, name in pairs
        if not re.search(rf"\b{name}\b", (ROOT / file).read_text(encoding="utf-8"))
    ]
    assert missing == []
