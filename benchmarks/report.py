"""Writes the report of a run: ``docs/benchmarks/``, with JSON, a page and plots."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pygal  # type: ignore[import-untyped]  # has no types

from benchmarks.results import Figure, Report, Target

FOLDER: Final = Path(__file__).parents[1] / "docs" / "benchmarks"


def write(report: Report, folder: Path = FOLDER) -> None:
    """Replaces what an earlier run wrote."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    encoded = msgspec.json.format(msgspec.json.encode(report), indent=1)
    (folder / "results.json").write_bytes(encoded + b"\n")
    for figure in report.figures:
        (folder / _file(figure)).write_bytes(_plot(figure))
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
        yield f"![{figure.name}]({_file(figure)})"
    yield ""


def _verdict(figure: Figure, target: Target) -> str:
    reached, wanted = figure.reached(target), target.value
    met = "met" if figure.is_met(target) else "missed"
    bound = "at most" if target.direction == "at_most" else "at least"
    subject = f"{target.of} / {target.against}" if target.against else target.of
    return f"{subject}: {_number(reached)}, target {bound} {_number(wanted)}, {met}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits


def _file(figure: Figure) -> str:
    return re.sub(r"[^a-z0-9]+", "-", figure.name.lower()).strip("-") + ".svg"


def _plot(figure: Figure) -> bytes:
    """A box for each variant, from the lowest round over the median to the highest."""
    plot = pygal.Box(
        box_mode="extremes", title=figure.name, y_title=figure.unit, no_prefix=True, js=[],
        disable_xml_declaration=False, include_x_axis=True, width=720, height=420,
    )  # fmt: skip
    for variant, values in figure.rounds.items():
        plot.add(variant, values)
    return bytes(plot.render())
