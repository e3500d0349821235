"""The architecture page names files, functions and folders that exist."""

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
    found = attrgetter(name)(import_module(file.replace("/", ".")))

    assert found.__module__ == file.replace("/", ".")
