"""Output of the commands: results on standard output, progress on standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from devstack.progress import ReportStep

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def emit(record: Any) -> None:
    """Print one record as one line of JSON."""
    typer.echo(msgspec.json.encode(record))


@contextmanager
def progress(doing: str) -> Iterator[ReportStep]:
    """Show a spinner while the body runs, and a line for each reported step."""
    with err.status(doing):
        yield lambda line: err.print(f"  {line}", markup=False)
