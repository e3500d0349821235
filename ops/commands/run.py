"""`im run`: start everything, play a conversation, check the results, wait for Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated, Final

import typer

from gateway.http.tokens import issue_token
from ops.console import Json, emit, err, progress
from ops.demo.account import Account
from ops.demo.events import Event
from ops.demo.play import Played, play
from ops.demo.readback import page_link, pipeline_link, reachable, read_back
from ops.demo.script import OPERATOR, PEOPLE, READERS
from ops.deployment import deployed_stack as stack
from ops.deployment.running import live_settings
from schemas.settings import Settings

_ENDING: Final = (signal.SIGINT, signal.SIGTERM)
_TOKEN_LIFETIME: Final = timedelta(hours=12)


def run(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Exit after the conversation: 0 if all checks passed.")
    ] = False,
    json: Json = False,
) -> None:
    """Start everything, play a short conversation, and keep running until Ctrl-C."""
    show = emit if json else Account().print_event
    verdicts: list[bool] = []
    with _everything_up():
        for event in demonstration(live_settings()):
            show(event)
            verdicts.append(event.ok)
        if not once:
            err.print("\nPress Ctrl-C to stop.")
            signal.pause()
    raise typer.Exit(0 if verdicts and all(verdicts) else 1)


def demonstration(settings: Settings) -> Iterator[Event]:
    """Play the conversation, then read it back from each store.

    Raises:
        ImError: A step failed.
    """
    played = Played.fresh()
    yield from play(settings, played)
    yield from asyncio.run(read_back(settings, played))
    yield reachable(settings, played, _token(settings, READERS["team"]))
    for person in PEOPLE:
        yield page_link(settings, person, _token(settings, person))
    for operator in sorted(settings.operator_ids):
        yield pipeline_link(settings, operator, _token(settings, operator))


def _token(settings: Settings, person: str) -> str:
    if settings.jwt_algorithm != "HS256":
        return "TOKEN"  # only the issuer of tokens can make one
    return issue_token(settings, person, _TOKEN_LIFETIME)


@contextmanager
def _everything_up() -> Iterator[None]:
    """Start a deployment unless one runs, and stop it at the end. SIGINT, SIGTERM end the body."""
    for number in _ENDING:
        signal.signal(number, signal.default_int_handler)  # a shell may have set SIGINT to ignored
    with progress("starting") as report:
        _, started = stack.start_deployment(report, operators=OPERATOR)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        if started:
            _stop()


def _stop() -> None:
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)  # stopping takes a bounded time and must complete
    with progress("stopping") as report:
        stack.stop_deployment(report)
