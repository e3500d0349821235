"""SECURITY.md: each threat has a control in the repository, and a test that exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.unit.documents.test_names import ROOT

PAGE: Final = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
TABLE: Final = PAGE.partition("\n## Threats\n")[2].partition("\n## ")[0]
TEST: Final = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


class Threat(NamedTuple):
    """One row of the table."""

    threat: str
    control: str
    where: str
    tests: str


THREATS: Final = [
    Threat(*(cell.strip() for cell in line.strip("|").split(" | ")))
    for line in TABLE.splitlines()
    if line.startswith("| ") and not line.startswith("| threat ")
]

REQUIRED: Final = (
    "forged sender", "stolen token", "hostile id", "enumeration", "conversation of others",
    "replay", "by size", "by rate", "slow peers", "large or busy groups", "SSRF", "in logs",
    "compromised service", "script in a message", "supply chain", "recalled text",
)  # fmt: skip
"""Threats that the table must have, by words of their rows."""


@cache
def names_of(file: Path) -> frozenset[str]:
    """Return the names of the tests that a module defines or imports."""
    names: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return frozenset(names)


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.threat[:40])
def test_a_threat_has_a_control_and_a_test(threat: Threat) -> None:
    """A row names at least one file or decision, and at least one test; all of them exist."""
    assert threat.control
    files = re.findall(r"`([^`]+)`", threat.where)
    decisions = re.findall(r"ADR (\d+)", threat.where)
    assert files or decisions
    assert [file for file in files if not (ROOT / file).exists()] == []
    assert [n for n in decisions if not list(ROOT.glob(f"docs/adr/{int(n):04}-*.md"))] == []

    named = TEST.findall(threat.tests)
    assert len(named) == threat.tests.count("`") // 2 > 0
    assert [name for file, name in named if name not in names_of(ROOT / file)] == []


@pytest.mark.parametrize("words", REQUIRED)
def test_the_table_has_the_known_threats(words: str) -> None:
    """No known threat has left the table."""
    assert [threat for threat in THREATS if words in threat.threat]
