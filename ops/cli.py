"""The `im` command: mounts the commands, and turns errors into one line and an exit code.

Exit codes: 0 success, 1 failure (the reason is on standard error), 2 a wrong call, 130 Ctrl-C.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Final

import stamina
import typer

from ops import operate, read, run
from ops.dead_letters.command import list_letters, replay_letters
from ops.load.command import load
from ops.reshard import reshard
from ops.verify.command import verify
from schemas.errors import ImError, Interrupted

_FAILED: Final = 1

_OWNER_ALONE: Final = 0o077
"""The umask of all that runs here: messages and secrets are for the owner of the files."""

app = typer.Typer(
    name="im",
    help="Operate im-timeline: an instant-messaging backend on Kafka.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("run")(run.run)
app.command("up")(operate.up)
app.command("down")(operate.down)
app.command("status")(operate.status)
app.command("prepare")(operate.prepare)
app.command("token")(operate.token)

topics = typer.Typer(help="The topics of the deployment.", no_args_is_help=True)
topics.command("create")(operate.create_topics)
topics.command("reshard")(reshard)
app.add_typer(topics, name="topics")

letters = typer.Typer(help="Records that a stage has put aside.", no_args_is_help=True)
letters.command("list")(list_letters)
letters.command("replay")(replay_letters)
app.add_typer(letters, name="dead-letters")

app.command("history")(read.history)
app.command("conversations")(read.conversations)
app.command("sync")(read.sync)
app.command("search")(read.search)
app.command("load")(load)
app.command("verify")(verify)


def main() -> None:
    """Runs the command line. Never shows a traceback for what this project foresees."""
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr, format="im: %(message)s")
    stamina.instrumentation.set_on_retry_hooks([])  # a retry that works is no news
    os.umask(_OWNER_ALONE)
    try:
        app()
    except Interrupted as error:
        _fail(str(error), error.exit_code)
    except ImError as error:
        _fail(str(error))


def _fail(why: str, exit_code: int = _FAILED) -> None:
    typer.echo(f"im: {why}", err=True)
    raise SystemExit(exit_code)
