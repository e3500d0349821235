"""A plan as text, with all assumptions and measured values. Also writes docs/capacity.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from ops.capacity.assumptions import MEANINGS, Assumptions, Workload
from ops.capacity.measured_costs import BENCHMARK_REPORT, Costs, read_costs
from ops.capacity.plan import make_plan
from ops.capacity.planned import Need, Plan

CAPACITY_PAGE: Final = Path(__file__).parents[2] / "docs" / "capacity.md"
_BEGIN: Final = (
    "<!-- The output of `im capacity`; written by `python -m ops.capacity.plan_text` -->"
)


def plan_text(workload: Workload, assumed: Assumptions, costs: Costs) -> str:
    """The plan in Markdown: the same on a terminal and in docs/capacity.md."""
    return "\n".join(_lines(workload, assumed, costs, make_plan(workload, assumed, costs)))


def _lines(workload: Workload, assumed: Assumptions, costs: Costs, plan: Plan) -> Iterator[str]:
    yield "### Workload"
    yield ""
    yield from _table(["name", "value", "meaning"], _settings(workload))
    yield ""
    yield "### Plan"
    yield ""
    yield from _table(["part", "number", "required by each limit"], map(_need, plan.needs))
    yield ""
    yield from _table(
        ["quantity", "value", "unit"],
        ([q.what, _number(q.value), q.unit] for q in plan.quantities),
    )
    for sentence in plan.missed:
        yield ""
        yield f"**Not reached by this version:** {sentence}"
    yield ""
    yield "### Assumed"
    yield ""
    yield from _table(["name", "value", "meaning"], _settings(assumed))
    yield ""
    yield "### Measured"
    yield ""
    yield f"Report of version {costs.commit} on {costs.machine}; servers, load generator and the"
    yield "measured process shared the cores."
    yield ""
    yield from _table(
        ["value", "", "unit", "file"],
        ([each.what, _number(each.value), each.unit, each.source] for each in costs.measured),
    )


def _settings(values: Workload | Assumptions) -> list[list[str]]:
    return [
        [name, _number(value), MEANINGS[name]]
        for name, value in msgspec.structs.asdict(values).items()
    ]


def _need(need: Need) -> list[str]:
    limits = ", ".join(f"{name}: {count:,}" for name, count in need.limits.items())
    return [need.part, f"{need.count:,}", limits]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.3g}"  # noqa: PLR2004 - three digits


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table of Markdown whose columns are aligned, so that a terminal shows it as well."""
    shown = [list(head), *map(list, rows)]
    widths = [max(len(row[column]) for row in shown) for column in range(len(head))]
    for number, row in enumerate(shown):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"| {' | '.join(cells)} |"
        if number == 0:
            yield f"|{'|'.join('-' * (width + 2) for width in widths)}|"


def page_with_plan(page: str) -> str:
    """The page with the present output of `im capacity` in place of the earlier one."""
    before, begin, _ = page.partition(_BEGIN)
    text = plan_text(Workload(), Assumptions(), read_costs(BENCHMARK_REPORT))
    return f"{before}{begin}\n\n{text}\n"


def main() -> None:
    """Write the present output of `im capacity` into docs/capacity.md."""
    page = CAPACITY_PAGE.read_text(encoding="utf-8")
    CAPACITY_PAGE.write_text(page_with_plan(page), encoding="utf-8")


if __name__ == "__main__":
    main()
