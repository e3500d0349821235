"""`im load`: what the command line calls, and what it prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from msgspec.structs import asdict
from rich.table import Table

from ops.console import Json, emit, err, out
from ops.load.display import display
from ops.load.loader import Loader, LoadSummary
from ops.load.source import open_log
from ops.running import resolve_settings

PATIENCE_SECONDS: Final = 300.0
"""A store that is away for a minute or two is waited for."""

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", exists=True, dir_okay=False, readable=True, help="A .jsonl or .jsonl.gz."
    ),
]
Rate = Annotated[float | None, typer.Option("--rate", min=0.1, help="Lines a second at most.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="The first so many lines.")]
PatienceOption = Annotated[
    float, typer.Option("--patience", min=1, help="Seconds that a stage may stand still.")
]


def load(
    file: File,
    rate: Rate = None,
    limit: Limit = None,
    *,
    patience: PatienceOption = PATIENCE_SECONDS,
    json: Json = False,
) -> None:
    """Send a chat log; return when all of it is sequenced and stored. Exit with 1 if not all is.

    To load a file again, or after an interruption, adds what is missing and nothing else.
    """
    settings = resolve_settings()
    with display(err) as bars, open_log(file) as log:
        summary = Loader(settings, bars, rate, patience).load(log, limit)
    if json:
        emit(summary)
    else:
        out.print(_table(summary))
    if not summary.is_whole:
        raise typer.Exit(1)


def _table(summary: LoadSummary) -> Table:
    """Every figure on a line of its own."""
    table = Table("", "", box=None, show_header=False)
    for name, value in asdict(summary).items():
        if not isinstance(value, dict):
            table.add_row(name, f"{value:,}")
            continue
        for part, figure in value.items():
            is_time = name == "seconds"
            table.add_row(f"{name}: {part}", f"{figure:,.1f}" if is_time else f"{figure:,}")
    return table
