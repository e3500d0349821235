"""The output of a report, as text and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console, Group
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from audit.report import AuditReport, CheckName, Difference
from ops.lines import printable

_TITLES: Final[dict[CheckName, str]] = {
    "input": "commands and their outcomes",
    "log": "the log of conversations",
    "store": "messages in the store",
    "membership": "membership in the store",
    "index": "the search index",
    "sync-log": "sync timelines in Kafka",
    "sync-store": "sync timelines in the store",
    "marks": "read marks in the store",
}


def line(difference: Difference) -> str:
    """A difference in one line. Quotes no message."""
    parts = [f"{difference.check}: {difference.kind}"]
    if difference.conv_id:
        parts.append(f"{difference.conv_id}{_seqs(difference)}")
    if difference.user:
        parts.append(f"for {difference.user}")
    if difference.where:
        parts.append(f"({difference.where})")
    if difference.detail:
        parts.append(f"- {difference.detail}")
    if difference.records > 1:
        parts.append(f"[{difference.records:,} records]")
    return printable(" ".join(parts))


def summary(report: AuditReport, seconds: float) -> dict[str, Any]:
    """The summary object: the last line of the JSON output."""
    return {
        "summary": True,
        "ok": report.total == 0,
        "differences": report.total,
        "seconds": round(seconds, 1),
        "checks": {
            check: {
                "seconds": round(section.seconds, 1),
                "counts": section.counts,
                "differences": section.differences,
                "notes": section.notes,
            }
            for check, section in report.sections.items()
        },
    }


def report_table(report: AuditReport, seconds: float) -> Group:
    """The summary as a table."""
    checks = Table("check", "records", "differences", "seconds", box=None)
    for column in checks.columns[2:]:
        column.justify = "right"
    for check, section in report.sections.items():
        differences = section.differences.total()
        checks.add_row(
            _TITLES[check],
            ", ".join(f"{number:,} {name}" for name, number in section.counts.items() if number),
            Text(f"{differences:,}", style="red" if differences else "green"),
            f"{section.seconds:.1f}",
        )
    notes = [Text(note) for section in report.sections.values() for note in section.notes]
    return Group(checks, *notes, Text(_verdict(report, seconds)))


@contextmanager
def verify_progress(console: Console) -> Iterator[Callable[[CheckName, int], None]]:
    """Show the number of records read by each check."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.completed:,.0f} records"),
        TimeElapsedColumn(),
    )
    tasks: dict[CheckName, TaskID] = {}
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as shown:

        def advance(check: CheckName, number: int) -> None:
            if check not in tasks:
                for task in tasks.values():
                    shown.stop_task(task)
                tasks[check] = shown.add_task(_TITLES[check], total=None)
            shown.advance(tasks[check], number)

        yield advance


def _seqs(difference: Difference) -> str:
    if difference.through > difference.seq:
        return f"#{difference.seq}-{difference.through}"
    return f"#{difference.seq}" if difference.seq else ""


def _verdict(report: AuditReport, seconds: float) -> str:
    if report.total == 0:
        return f"no difference, in {seconds:.0f} s"
    return f"{report.total:,} differences, {len(report.differences):,} named, in {seconds:.0f} s"
