"""The command line `im` and its commands."""

from __future__ import annotations

import typer

from ops import operate, read, run
from ops.dead_letters.command import list_letters, replay_letters
from ops.load.command import load
from ops.reshard import reshard
from ops.verify.command import verify

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

letters = typer.Typer(help="Dead letters: records that a stage put aside.", no_args_is_help=True)
letters.command("list")(list_letters)
letters.command("replay")(replay_letters)
app.add_typer(letters, name="dead-letters")

app.command("history")(read.history)
app.command("conversations")(read.conversations)
app.command("sync")(read.sync)
app.command("search")(read.search)
app.command("load")(load)
app.command("verify")(verify)
