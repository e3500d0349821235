"""The decisions in docs/adr."""

from __future__ import annotations

import re

from tests.unit.documents.test_names import ROOT

PAGES = sorted(ROOT.glob("docs/adr/[0-9]*.md"))


def test_each_decision_has_its_own_number() -> None:
    """A number names one decision: they are 1 to n, and each page begins with its number."""
    numbers = [int(page.name[:4]) for page in PAGES]
    assert numbers == list(range(1, len(PAGES) + 1))
    for page, number in zip(PAGES, numbers, strict=True):
        heading = page.read_text(encoding="utf-8").partition("\n")[0]
        assert re.fullmatch(rf"# {number}\. \S.*", heading), page.name
