"""Modules are short enough to be read at once."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.unit.documents.test_names import ROOMS, ROOT

MOST_LINES: Final = 300
FOLDERS: Final = [*ROOMS, "benchmarks", "clients/js/src", "clients/python/src"]


def modules(folder: str) -> list[Path]:
    """Return the modules in a folder: Python, JavaScript and its types."""
    files = (ROOT / folder).rglob("*")
    return sorted(file for file in files if file.suffix in {".py", ".js", ".ts"})


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_module_is_long(folder: str) -> None:
    """Each module of the product and of the benchmarks has at most 300 lines."""
    lengths = {
        str(module.relative_to(ROOT)): len(module.read_text(encoding="utf-8").splitlines())
        for module in modules(folder)
    }

    assert lengths
    assert {module: lines for module, lines in lengths.items() if lines > MOST_LINES} == {}
