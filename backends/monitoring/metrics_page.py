"""Writes the table of all metrics into `docs/metrics.md`.

Command: ``python -m backends.monitoring.metrics_page``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from backends.monitoring.declared_metric import DeclaredMetric, MetricLabel
from backends.monitoring.metric_catalog import PROCESSES, declared_metrics

METRICS_PAGE: Final = Path(__file__).parents[2] / "docs" / "metrics.md"

_BEGIN: Final = "<!-- The table is generated: `make schemas`. -->\n"
_END: Final = "<!-- The end of the table. -->\n"


def page_with_table(page: str) -> str:
    """The page with the table of the present declarations.

    Raises:
        ValueError: The page has no place for the table.
    """
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError("docs/metrics.md has no place for the table")
    return "".join([before, begin, "\n", *(f"{line}\n" for line in _table()), "\n", end, after])


def _table() -> Iterator[str]:
    yield "| metric | kind, unit | processes | labels | meaning |"
    yield "|---|---|---|---|---|"
    yield from map(_row, declared_metrics())


def _row(metric: DeclaredMetric) -> str:
    processes = "all" if metric.processes == PROCESSES else ", ".join(metric.processes)
    labels = "; ".join(map(_label, metric.labels)) or "-"
    kind = f"{metric.kind}, {metric.unit}"
    return f"| `{metric.name}` | {kind} | {processes} | {labels} | {metric.meaning} |"


def _label(label: MetricLabel) -> str:
    if label.name == "stage":
        return "`stage`"
    values = (
        f"{len(label.values)} values" if len(label.values) > _SHOWN else ", ".join(label.values)
    )
    return f"`{label.name}`: {label.bounded_by or values}"


_SHOWN: Final = 10
"""Values of a label that the table lists. The codes of rejections are in `schemas/errors.py`."""


def main() -> None:
    """Writes the table."""
    METRICS_PAGE.write_text(page_with_table(METRICS_PAGE.read_text(encoding="utf-8")), "utf-8")


if __name__ == "__main__":
    main()
