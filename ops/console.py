"""Output of the commands: results on standard output, progress on standard error."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Column, Table

from devstack.progress import ReportStep

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def table_with(*names: str, whole: Collection[str] = ()) -> Table:
    """A table without lines that cuts no value: an id that is cut cannot be copied.

    Args:
        names: The columns. A value that is wider than its column continues on the next line.
        whole: The columns that become narrower than their values last.
    """
    columns = [Column(name, overflow="fold", no_wrap=name in whole) for name in names]
    return Table(*columns, box=None)


def emit(record: Any) -> None:
    """Print one record as one line of JSON."""
    typer.echo(msgspec.json.encode(record))


@contextmanager
def progress(doing: str) -> Iterator[ReportStep]:
    """Show a spinner while the body runs, and a line for each reported step."""
    with err.status(doing):
        yield lambda line: err.print(f"  {line}", markup=False)
