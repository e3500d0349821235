"""Each public name of the product has one meaning: one module defines it."""

from __future__ import annotations

import ast
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[3]
_TOOLS: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
PACKAGES: Final[list[str]] = _TOOLS["hatch"]["build"]["targets"]["wheel"]["packages"]
ROOMS: Final = [package for package in PACKAGES if not package.startswith("clients/")]
"""The client for Python is a package of its own: its names are those of the JavaScript client."""

SAME_MEANING: Final = {
    "main": "the entry point of a program",
    "log": "the logger of the module",
    "ANSWER_SECONDS": "how long a module waits for an answer of the broker",
    "CLOSE_SECONDS": "how long a `close` may take",
    "LIST_PAGE": "the items that the SDK requests for one page of a list",
    "MAX_PAGE_BYTES": "the bytes of one page of a response",
    "MAX_RECORDS_PER_READ": "the records that one read from Kafka returns",
    "MAX_REFERENCES": "the references in a row of `sync`; the audit has its own copy of the rule",
    "POLL_SECONDS": "the timeout of one poll of a Kafka client",
    "REACHABLE_SECONDS": "how long a health check waits for a server",
    "READY_SECONDS": "how long the programs of a deployment may take to be ready",
    "REQUEST_SECONDS": "the timeout of one request to a server",
    "SILENCE_SECONDS": "how long a reader waits for records that the broker has",
    "STOP_SECONDS": "how long an orderly stop may take",
}
"""Names that several modules define with one meaning, each with its own value."""


def modules() -> list[Path]:
    """Return the modules of the product."""
    return sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def is_type_variable(node: ast.expr | None) -> bool:
    """Return whether an assignment makes a type variable."""
    made = node.func if isinstance(node, ast.Call) else None
    return isinstance(made, ast.Name) and made.id in {"TypeVar", "ParamSpec"}


def defined(module: Path) -> Iterator[str]:
    """Yield the public names that a module defines at its top level."""
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        names: list[str] = []
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign) and not is_type_variable(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
        yield from (name for name in names if not name.startswith("_"))


def definitions() -> dict[str, list[str]]:
    """Return the modules that define each public name."""
    found: dict[str, list[str]] = defaultdict(list)
    for module in modules():
        for name in defined(module):
            found[name].append(str(module.relative_to(ROOT)))
    return found


def test_each_public_name_is_defined_once() -> None:
    """No two modules define a class, function, type alias or constant with the same name."""
    repeated = {
        name: places
        for name, places in definitions().items()
        if len(places) > 1 and name not in SAME_MEANING
    }

    assert repeated == {}


def test_each_exemption_is_needed() -> None:
    """Each name of `SAME_MEANING` is a constant, a logger or `main`, and is defined repeatedly."""
    found = definitions()

    assert [name for name in SAME_MEANING if len(found[name]) < 2] == []
    assert {name for name in SAME_MEANING if not name.isupper()} == {"log", "main"}


@pytest.mark.parametrize("room", ROOMS)
def test_each_file_name_occurs_once_in_a_room(room: str) -> None:
    """Two modules of one room have different file names, except `__init__` and `__main__`."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in (ROOT / room).rglob("*.py"):
        if not path.name.startswith("__"):
            found[path.name].append(str(path.relative_to(ROOT)))

    assert {name: places for name, places in found.items() if len(places) > 1} == {}
