"""The command line `im`. The module of a command is imported when the command is used.

The client libraries of all commands together take two seconds to import.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar, Final

import typer
from typer.core import TyperGroup

_COMMANDS: Final = {
    "run": "ops.commands.run:run",
    "up": "ops.commands.start:up",
    "down": "ops.commands.start:down",
    "status": "ops.commands.status:status",
    "prepare": "ops.commands.prepare:prepare",
    "token": "ops.commands.token:token",
    "history": "ops.commands.read:history",
    "conversations": "ops.commands.read:conversations",
    "sync": "ops.commands.read:sync",
    "search": "ops.commands.read:search",
    "load": "ops.commands.load:load",
    "verify": "ops.commands.verify:verify",
    "capacity": "ops.commands.capacity:capacity",
    "repair": "ops.commands.repair:repair",
    "reindex": "ops.commands.reindex:reindex",
    "explain": "ops.commands.explain:explain_message",
    "acl": "ops.commands.acl:acl",
}
"""The function of each command, as module:function."""

_TOPIC_COMMANDS: Final = {
    "create": "ops.commands.topics:create_missing_topics",
    "reshard": "ops.commands.reshard:reshard",
}

_DEAD_LETTER_COMMANDS: Final = {
    "list": "ops.commands.dead_letter:list_letters",
    "show": "ops.commands.dead_letter:show_letter",
    "replay": "ops.commands.dead_letter:replay_letters",
    "drop": "ops.commands.dead_letter:drop_letters",
}


_WEBHOOK_COMMANDS: Final = {
    "add": "ops.commands.webhook:add_webhook",
    "list": "ops.commands.webhook:list_webhooks",
    "remove": "ops.commands.webhook:remove_webhook",
    "rotate": "ops.commands.webhook:rotate_webhook",
}


class _ImportedOnUse(TyperGroup):
    """A group whose commands are imported on use, after the example in Click's documentation.

    ``functions``: the function of each command, as module:function.
    """

    functions: ClassVar[Mapping[str, str]]

    # Typer has its own copy of Click, whose types are private.

    def list_commands(self, ctx: Any) -> list[str]:
        return [*self.functions, *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        function = self.functions.get(cmd_name)
        if function is None:
            return super().get_command(ctx, cmd_name)
        return _imported(cmd_name, function)


class _Commands(_ImportedOnUse):
    functions = _COMMANDS


class _TopicCommands(_ImportedOnUse):
    functions = _TOPIC_COMMANDS


class _DeadLetterCommands(_ImportedOnUse):
    functions = _DEAD_LETTER_COMMANDS


class _WebhookCommands(_ImportedOnUse):
    functions = _WEBHOOK_COMMANDS


def _imported(name: str, function: str) -> Any:
    module, attribute = function.split(":")
    single = typer.Typer(add_completion=False)
    single.command(name)(getattr(import_module(module), attribute))
    return typer.main.get_command(single)


def _group(functions: type[_ImportedOnUse], text: str) -> typer.Typer:
    group = typer.Typer(cls=functions, help=text, no_args_is_help=True)
    group.callback()(lambda: None)  # makes a group of an app without registered commands
    return group


app = typer.Typer(
    name="im",
    cls=_Commands,
    help="Operate im-timeline: an instant-messaging backend on Kafka.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.callback()(lambda: None)
app.add_typer(_group(_TopicCommands, "The topics of the deployment."), name="topics")
app.add_typer(
    _group(_DeadLetterCommands, "Dead letters: records that a stage put aside."),
    name="dead-letter",
)
app.add_typer(
    _group(_WebhookCommands, "Webhooks: events for integrators."),
    name="webhook",
)
