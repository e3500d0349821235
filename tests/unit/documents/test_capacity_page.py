"""docs/capacity.md has the output of `im capacity`."""

from __future__ import annotations

import re
from typing import Final

import pytest

from ops.capacity.measured_costs import (
    BENCHMARK_REPORT,
    DOCUMENTS_PER_SECOND,
    PUBLISHED,
    read_costs,
)
from ops.capacity.plan_text import CAPACITY_PAGE, page_with_plan
from tests.unit.documents.test_names import ROOT

FIGURES: Final = (ROOT / "docs/figures.md").read_text(encoding="utf-8").replace("\n", " ")
PLACES: Final = {
    DOCUMENTS_PER_SECOND: r"\| documents/s \|.*?\| 2,426 ",
    210.0: r"\| size of the index \|.*?\| 21 MB \|",
    2.67: r"\| row, note, listing, as it is \| 2\.67 ",
    256.0: r"\| restored \| 360 bytes \| 256 bytes ",
    11.0: r"\| 1,000,000 conversations .*? \| 11\.0 s ",
    31_730.0: r"\| 3 \| 31,730 messages/s \|",
    7_970.0: r"\| 100 \| 7,970 messages/s \|",
    1_993.0: r"\| 500 \| 1,993 messages/s \|",
    636.0: r"636 µs of processor time for a message in the gateway",
    1_300.0: r"\| notifications, one process \| 369/s \| 1,300 µs \|",
    620.0: r"\| events of one webhook, .*? \| 154/s \| 620 µs \|",
    372.0: r"0\.372 ms of processor time for each",
}
"""Where docs/figures.md has each value that the model takes from there."""


def test_the_page_has_the_output_of_the_command() -> None:
    """The plan on the page is that of the present code and the present report."""
    page = CAPACITY_PAGE.read_text(encoding="utf-8")
    assert page_with_plan(page) == page, "run: python -m ops.capacity.plan_text"


@pytest.mark.parametrize("value", PLACES)
def test_a_published_value_is_on_the_page_of_figures(value: float) -> None:
    """docs/figures.md has each value that the model takes from it."""
    assert re.search(PLACES[value], FIGURES)


def test_each_value_of_the_page_of_figures_has_its_place() -> None:
    """No value comes from docs/figures.md without a place that the other test compares."""
    measured = read_costs(BENCHMARK_REPORT).measured
    published = [*PUBLISHED, *(each for each in measured if each.source == "docs/figures.md")]
    assert {each.value for each in published} - PLACES.keys() == set()
