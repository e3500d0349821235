"""Writes the report of a run to ``docs/benchmarks/``: JSON, and a page with charts.

The charts are Mermaid's `xychart`, which common Markdown viewers draw without a plug-in.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.results import Figure, Report, Target

FOLDER: Final = Path(__file__).parents[1] / "docs" / "benchmarks"


def write(report: Report, folder: Path = FOLDER) -> None:
    """Replaces the report of an earlier run."""
    folder.mkdir(parents=True, exist_ok=True)
    encoded = msgspec.json.format(msgspec.json.encode(report), indent=1)
    (folder / "results.json").write_bytes(encoded + b"\n")
    (folder / "README.md").write_text(page(report), encoding="utf-8")


def page(report: Report) -> str:
    """The page, in Markdown."""
    return "\n".join(_lines(report))


def line(figure: Figure) -> str:
    """One line for the terminal."""
    medians = ", ".join(
        f"{variant} {_number(figure.median(variant))}" for variant in figure.rounds
    )
    targets = "; ".join(_verdict(figure, target) for target in figure.targets)
    return f"{figure.name}: {medians} {figure.unit}" + (f" ({targets})" if targets else "")


def _lines(report: Report) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield f"Written by `make bench` on {report.commit}; {report.machine}. Servers, load and worker"
    yield "share the machine. Each value is the median of the rounds of one run; the variants of a"
    yield "figure take turns, so compare within a row. A share is the median of the shares of all"
    yield "rounds."
    yield ""
    yield "| what | unit | medians | targets |"
    yield "|---|---|---|---|"
    for figure in report.figures:
        medians = "<br>".join(f"{v}: {_number(figure.median(v))}" for v in figure.rounds)
        targets = "<br>".join(_verdict(figure, target) for target in figure.targets)
        yield f"| {figure.name} | {figure.unit} | {medians} | {targets} |"
    for figure in report.figures:
        yield ""
        yield from _chart(figure)
    yield ""


def _verdict(figure: Figure, target: Target) -> str:
    reached, wanted = figure.reached(target), target.value
    reason = f" ({target.if_missed})" if target.if_missed else ""
    met = "met" if figure.is_met(target) else f"missed{reason}"
    bound = "at most" if target.direction == "at_most" else "at least"
    subject = f"{target.of} / {target.against}" if target.against else target.of
    return f"{subject}: {_number(reached)}, target {bound} {_number(wanted)}, {met}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits


def _chart(figure: Figure) -> Iterator[str]:
    """The medians as bars; the lowest and the highest round of each variant as lines."""
    rounds = figure.rounds
    yield "```mermaid"
    yield "xychart-beta"
    yield f'    title "{figure.name}: median, lowest and highest round"'
    names = ", ".join(f'"{variant}"' for variant in rounds)
    yield f"    x-axis [{names}]"
    yield f'    y-axis "{figure.unit}" 0 --> {max(map(max, rounds.values())) * 1.1:.4g}'
    yield f"    bar [{', '.join(f'{figure.median(variant):.4g}' for variant in rounds)}]"
    for end in (min, max):
        yield f"    line [{', '.join(f'{end(values):.4g}' for values in rounds.values())}]"
    yield "```"
