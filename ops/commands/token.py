"""`im token`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

import typer

from gateway.http.tokens import issue_token
from ops.console import Json, emit
from ops.deployment.running import resolve_settings

_TOKEN_HOURS: Final = 24


def token(
    user: Annotated[str, typer.Argument(metavar="USER", help="The user of the token.")],
    hours: Annotated[
        float, typer.Option("--hours", min=0.01, help="Lifetime in hours.")
    ] = _TOKEN_HOURS,
    device: Annotated[
        str | None, typer.Option("--device", help="The device that the token names.")
    ] = None,
    *,
    json: Json = False,
) -> None:
    """Print a bearer token that lets its holder act as USER at the gateway.

    For development: only with HS256, whose secret is here.
    """
    issued = issue_token(resolve_settings(), user, timedelta(hours=hours), device)
    if json:
        emit({"user": user, "token": issued})
    else:
        typer.echo(issued)
