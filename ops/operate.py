"""`im up`, `im down`, `im status`, `im topics create`, `im prepare` and `im token`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

import typer

from backends.recipient_topics import make_recipients
from gateway.tokens import issue_token
from ops import stack
from ops.console import Json, emit, out, progress
from ops.endpoints import endpoints
from ops.prepare import prepare as prepare_all
from ops.prepare import prepare_log
from ops.running import live_settings, make_home, resolve_settings, secret_file
from ops.status import look, table

_TOKEN_HOURS: Final = 24


Recipients = Annotated[
    list[str] | None,
    typer.Option(
        "--recipient", help="Create the topic of this recipient in advance; may be repeated."
    ),
]


def up(*, json: Json = False) -> None:
    """Start servers and processes in the background, and wait until a message can be sent."""
    with progress("starting") as report:
        settings, started = stack.up(report)
    where = endpoints(settings)
    if json:
        emit({"started": started, **where})
        return
    out.print("started" if started else "already running")
    for part, address in where.items():
        out.print(f"  {part:<14} {address}")


def down(*, json: Json = False) -> None:
    """Stop everything that `im up` started."""
    with progress("stopping") as report:
        stopped = stack.down(report)
    if json:
        emit({"stopped": stopped})
    else:
        out.print("stopped" if stopped else "nothing is running")


def status(*, json: Json = False) -> None:
    """Show what runs, the addresses, and the lag of each stage. Exit with 1 on any trouble."""
    found = look(resolve_settings())
    if json:
        emit(found)
    else:
        out.print(table(found))
    if not found.healthy:
        raise typer.Exit(1)


def create_topics(recipient: Recipients = None, *, json: Json = False) -> None:
    """Create the topics that are missing."""
    settings = live_settings()
    created = prepare_log(settings) + make_recipients(settings, recipient or [])
    for name in created:
        emit({"created": name}) if json else out.print(f"created {name}", markup=False)
    if not created and not json:
        out.print("all topics exist")


def prepare(*, json: Json = False) -> None:
    """Create the topics, tables, index and signing secret that are missing."""
    settings = live_settings()
    make_home(settings)
    with progress("preparing") as report:
        prepare_all(settings, report)
    secret_file(settings)
    if json:
        emit({"prepared": settings.namespace})


def token(
    user: Annotated[str, typer.Argument(metavar="USER", help="The user of the token.")],
    hours: Annotated[
        float, typer.Option("--hours", min=0.01, help="Lifetime in hours.")
    ] = _TOKEN_HOURS,
    *,
    json: Json = False,
) -> None:
    """Print a bearer token that lets its holder act as USER at the gateway."""
    issued = issue_token(resolve_settings(), user, timedelta(hours=hours))
    if json:
        emit({"user": user, "token": issued})
    else:
        typer.echo(issued)
