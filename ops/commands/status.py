"""`im status`."""

from __future__ import annotations

import typer

from ops.console import Json, emit, out
from ops.deployment.deployment_status import look, status_table
from ops.deployment.running import resolve_settings


def status(*, json: Json = False) -> None:
    """Show what runs, the addresses, and the lag of each stage. Exit with 1 on any trouble."""
    found = look(resolve_settings())
    if json:
        emit(found)
    else:
        out.print(status_table(found))
    if not found.healthy:
        raise typer.Exit(1)
