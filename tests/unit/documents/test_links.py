"""The links in the pages lead to pages and headings that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.unit.documents.test_names import ROOMS, ROOT

PAGES: Final = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
LINK: Final = re.compile(r"\]\(([^()\s]+)\)")
BLOCK: Final = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
CODE: Final = re.compile(rf"{BLOCK.pattern}|`[^`\n]*`", BLOCK.flags)
HEADING: Final = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
CITED: Final = re.compile(r"'([^']+)' in docs/operating\.md")
"""A heading that a message of the product names."""


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page, by the rule of GitHub."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title) for title in HEADING.findall(text))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in plain}


def broken(page: Path) -> Iterator[str]:
    """Yield each link of a page to a file, or a heading, that does not exist."""
    for link in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield link


def messages(module: Path) -> Iterator[str]:
    """Yield the texts of a module, those in several pieces as one text."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        pieces: list[ast.AST] = [*node.values] if isinstance(node, ast.JoinedStr) else [node]
        texts = [each.value for each in pieces if isinstance(each, ast.Constant)]
        yield "".join(text for text in texts if isinstance(text, str))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_somewhere(page: Path) -> None:
    """Each relative link names an existing file, and an existing heading of a page."""
    assert list(broken(page)) == []


def test_the_headings_that_messages_name_exist() -> None:
    """Each heading of docs/operating.md that a message of the product quotes is on the page."""
    modules = (path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    texts = (text for module in modules for text in messages(module))
    cited = {heading for text in texts for heading in CITED.findall(text)}
    headings = set(HEADING.findall((ROOT / "docs/operating.md").read_text(encoding="utf-8")))

    assert len(cited) >= 4
    assert cited - headings == set()
