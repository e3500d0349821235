"""`im load`: arguments and output."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer
from msgspec.structs import asdict
from rich.table import Table

from ops.console import Json, emit, err, out
from ops.deployment.running import live_settings
from ops.load.display import display
from ops.load.loader import Loader, LoadSummary
from ops.load.source import open_log
from schemas.errors import Interrupted

DEFAULT_PATIENCE_SECONDS: Final = 300.0
"""Long enough to wait for a store that is unreachable for a minute or two."""

_REASONS: Final = {
    "already_exists": "the conversation exists, and this file does not continue it",
    "not_a_member": "the speaker is not a member of the conversation",
    "conflict": "the line differs from the same line of an earlier load",
}

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", exists=True, dir_okay=False, readable=True, help="A .jsonl or .jsonl.gz."
    ),
]
Rate = Annotated[float | None, typer.Option("--rate", min=0.1, help="Maximum lines per second.")]
_Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Maximum number of lines.")]
PatienceOption = Annotated[
    float,
    typer.Option("--patience", min=1, help="Maximum seconds without progress."),
]


def load(
    file: File,
    rate: Rate = None,
    limit: _Limit = None,
    *,
    patience: PatienceOption = DEFAULT_PATIENCE_SECONDS,
    json: Json = False,
) -> None:
    """Send a chat log; return when all of it is sequenced and stored. Exit with 1 otherwise.

    The first line of a conversation creates the conversation, open for anybody to join. A speaker
    who is not a member is added. Loading a file again, or after an interruption, adds only what is
    missing.
    """
    settings = live_settings()
    with display(err) as bars, open_log(file) as log:
        try:
            summary = Loader(settings, bars, rate, patience).load(log, limit)
        except KeyboardInterrupt:
            raise Interrupted(
                f"interrupted after line {log.lines}: run the same command again to continue"
            ) from None
    if json:
        emit(summary)
    else:
        out.print(_table(summary))
        for line in remarks(summary):
            err.print(line)
    if not summary.is_whole:
        raise typer.Exit(1)


def remarks(summary: LoadSummary) -> Iterator[str]:
    """Side effects that the file does not state, and the first rejected line of each reason."""
    if summary.created:
        yield f"{summary.created:,} conversations were created, open for anybody to join"
    if summary.added_speakers:
        yield f"{summary.added_speakers:,} speakers were added: the file has no join for them"
    for code, line in sorted(summary.first_rejected.items(), key=lambda item: item[1]):
        count = summary.rejected[code]
        yield f"line {line}: {_REASONS.get(code, code)} ({code}; {count:,} commands in all)"


def _table(summary: LoadSummary) -> Table:
    """One line for each figure."""
    table = Table("", "", box=None, show_header=False)
    for name, value in asdict(summary).items():
        if not isinstance(value, dict):
            table.add_row(name, f"{value:,}")
            continue
        for part, figure in value.items():
            is_time = name == "seconds"
            table.add_row(f"{name}: {part}", f"{figure:,.1f}" if is_time else f"{figure:,}")
    return table
