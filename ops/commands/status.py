"""`im status`."""

from __future__ import annotations

import typer

from ops.console import Json, emit, out
from ops.deployment.deployment_status import read_status, status_table
from ops.deployment.running import resolve_settings


def status(*, json: Json = False) -> None:
    """Show what runs, the addresses, and the lag of each stage. Exit with 1 on any trouble."""
    shown = read_status(resolve_settings())
    if json:
        emit(shown)
    else:
        out.print(status_table(shown))
    if not shown.healthy:
        raise typer.Exit(1)
