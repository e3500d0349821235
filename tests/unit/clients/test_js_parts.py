"""The parts of the JavaScript client that need no gateway."""

from __future__ import annotations

from tests.support.node import CLIENT, run_tests


def test_parts() -> None:
    """The tests in `clients/js/test/unit` pass in Node."""
    report = run_tests(*sorted((CLIENT / "test" / "unit").glob("*.test.js")), seconds=120)
    assert "ℹ skipped 0" in report  # noqa: RUF001 - Node's own sign
