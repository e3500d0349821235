"""The pages name files, modules, functions and tests that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[3]
FOLDERS: Final = sorted(path.name for path in ROOT.iterdir() if (path / "__init__.py").exists())
MADE_BY_COMMANDS: Final = (".im/", "docs/benchmarks/")
"""Folders that `make test` and `make bench` write."""

PAGES: Final = [
    *(ROOT / page for page in ("README.md", "CONTRIBUTING.md", "CONTEXT.md", "SECURITY.md")),
    *sorted(ROOT.glob("docs/*.md")),
    *(
        page
        for page in sorted(ROOT.glob("docs/adr/*.md"))
        if "Status: superseded" not in page.read_text(encoding="utf-8")
    ),
]
PATH: Final = re.compile(r"([\w.-]+/[\w./-]*(?:/|\.(?:py|js|md|json|yml)))(?:::(\w+))?")
DOTTED: Final = re.compile(rf"(?:{'|'.join(FOLDERS)})(?:\.\w+)+")


def quoted(page: Path) -> set[str]:
    """Return the words of a page that are in backticks."""
    return set(re.findall(r"`([^`\n]+)`", page.read_text(encoding="utf-8")))


def defines(file: Path, name: str) -> bool:
    """Return whether a module has a name."""
    return bool(re.search(rf"\b{name}\b", file.read_text(encoding="utf-8")))


def missing_paths(page: Path) -> Iterator[str]:
    """Yield each path, with or without ``::`` and a name, that is not in the repository."""
    for word in quoted(page):
        named = PATH.fullmatch(word)
        if named is None or word.startswith(MADE_BY_COMMANDS):
            continue
        file, name = ROOT / named[1], named[2]
        if not file.exists() or (name is not None and not defines(file, name)):
            yield word


def missing_modules(page: Path) -> Iterator[str]:
    """Yield each module, or name in a module, that is not in the repository."""
    for word in quoted(page):
        if not DOTTED.fullmatch(word) or (ROOT / word).exists():
            continue
        path = ROOT / word.replace(".", "/")
        if path.is_dir() or path.with_suffix(".py").exists():
            continue
        modules = (path.parent.with_suffix(".py"), path.parent / "__init__.py")
        if not any(module.exists() and defines(module, path.name) for module in modules):
            yield word


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_file_that_a_page_names_exists(page: Path) -> None:
    """Each path of a module, a page, a folder or a test in a page is in the repository."""
    assert list(missing_paths(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_module_that_a_page_names_exists(page: Path) -> None:
    """Each dotted name of a module, or of a name in a module, is in the repository."""
    assert list(missing_modules(page)) == []
