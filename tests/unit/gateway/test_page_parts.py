"""The parts of the pages that need no browser."""

from __future__ import annotations

from pathlib import Path

from tests.support.node import run_tests


def test_parts_of_the_pages() -> None:
    """The tests in `tests/unit/gateway/page` pass in Node."""
    tests = sorted((Path(__file__).parent / "page").glob("*.test.js"))
    report = run_tests(*tests, seconds=60)
    assert "ℹ skipped 0" in report  # noqa: RUF001 - Node's own sign
