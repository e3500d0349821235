"""`im repair`: write what the store or the index lacks again, from the log."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

import typer

from audit.real_sources import real_servers
from audit.report import Difference
from ops.commands.verify_output import line, verify_progress
from ops.console import Json, emit, err, out
from ops.deployment.running import live_settings
from ops.lines import printable
from ops.repair.lacks import is_lack
from ops.repair.repair_rounds import RepairResult, repair_rounds

_FAILED: Final = 1
_SHOWN: Final = 100
"""Differences that are printed; further ones are counted."""

_Apply = Annotated[
    bool, typer.Option("--apply", help="Write. Without it, the command only says what is missing.")
]
_Wait = Annotated[
    float, typer.Option("--wait", min=0, help="Seconds to wait for each sink to catch up.")
]


def repair(*, apply: _Apply = False, wait: _Wait = 60.0, json: Json = False) -> None:
    """Write the rows and documents that are missing again, from the log, and nothing else.

    Exit code 0: the last audit found no difference. Exit code 1: there are differences, such as
    missing rows without --apply, or rows with other content, which this command leaves alone.
    """
    settings = live_settings()
    begin = time.monotonic()
    with (
        verify_progress(err) as advance,
        real_servers(settings, advance=advance, wait_seconds=wait) as sources,
    ):
        result = repair_rounds(
            settings, sources, apply=apply,
            report_round=lambda text: err.print(f"  {text}", markup=False),
        )  # fmt: skip
    seconds = time.monotonic() - begin
    if json:
        for difference in result.report.differences:
            emit(difference)
        emit(_summary(result, seconds))
    else:
        _print(result, seconds, apply=apply)
    if result.report.total:
        raise typer.Exit(_FAILED)


def _summary(result: RepairResult, seconds: float) -> dict[str, Any]:
    lacks, others = _counts(result)
    return {
        "summary": True,
        "ok": result.report.total == 0,
        "written": result.written.counts,
        "refused": result.written.refused,
        "missing": lacks,
        "other_differences": others,
        "behind": sorted(result.late),
        "rounds": result.rounds,
        "seconds": round(seconds, 1),
    }


def _print(result: RepairResult, seconds: float, *, apply: bool) -> None:
    differences = result.report.differences
    for difference in differences[:_SHOWN]:
        out.print(f"{_remedy(difference)} {line(difference)}", markup=False, soft_wrap=True)
    if len(differences) > _SHOWN:
        out.print(f"and {len(differences) - _SHOWN:,} more")
    for what, number in result.written.counts.items():
        out.print(f"written again: {number:,} {what}")
    for reason in result.written.refused[:_SHOWN]:
        out.print(f"refused: {printable(reason)}", markup=False)
    if result.late:
        out.print(f"behind, so left alone: {', '.join(sorted(result.late))}")
    lacks, others = _counts(result)
    if lacks and not apply:
        out.print("nothing was written; --apply writes what is missing")
    elif lacks and not result.late:
        out.print("some rows stay missing: see 'Rows that stay missing' in docs/repair.md")
    out.print(f"{lacks:,} missing, {others:,} other differences, in {seconds:.0f} s")


def _remedy(difference: Difference) -> str:
    return "missing" if is_lack(difference) else "not repaired"


def _counts(result: RepairResult) -> tuple[int, int]:
    """The numbers of missing rows or documents, and of other differences."""
    return result.missing, result.report.total - result.missing
