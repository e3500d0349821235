"""`im token`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

import typer

from gateway.http.tokens import issue_token
from ops.commands.arguments import UserArgument, valid_id
from ops.console import Json, emit
from ops.deployment.running import resolve_settings

_TOKEN_HOURS: Final = 24
_LONGEST_HOURS: Final = 87_600
"""Ten years: a token for development needs no longer lifetime."""


def _device(value: str | None) -> str | None:
    return value if value is None else valid_id(value)


def token(
    user: UserArgument,
    hours: Annotated[
        float, typer.Option("--hours", min=0.01, max=_LONGEST_HOURS, help="Lifetime in hours.")
    ] = _TOKEN_HOURS,
    device: Annotated[
        str | None,
        typer.Option("--device", help="The device that the token names.", callback=_device),
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
