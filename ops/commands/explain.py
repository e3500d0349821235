"""`im explain`: why a person did or did not get a message."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

import typer

from backends.elasticsearch.index import elasticsearch_client
from backends.identity.log_identity import check_log
from ops.commands.arguments import ConversationArgument, UserArgument
from ops.console import Json, emit, err, out
from ops.deployment.running import live_settings
from ops.explain.explanation import explain_command, explain_entry
from ops.explain.facts import Explanation, StepResult
from ops.lines import printable
from schemas.errors import ConfigurationError
from schemas.limits import MAX_SEQ
from schemas.number_types import SeqId

_MARKS: Final[dict[StepResult, str]] = {"yes": "yes", "no": "no", "unknown": "?"}

_Seq = Annotated[
    int | None,
    typer.Argument(metavar="[SEQ]", min=1, max=MAX_SEQ, help="The SeqId of the message."),
]
_Id = Annotated[
    str | None,
    typer.Option(
        "--id", metavar="CLIENT_MSG_ID", help="Instead of SEQ: a command that USER sent."
    ),
]


def explain_message(
    user: UserArgument,
    conversation: ConversationArgument,
    seq: _Seq = None,
    client_msg_id: _Id = None,
    *,
    json: Json = False,
) -> None:
    """Say why USER did or did not get message SEQ of CONV. Shows no text of a message.

    Exit code 0: the question is answered, whatever the answer is. Exit code 1: a server failed.
    """
    if (seq is None) == (client_msg_id is None):
        raise ConfigurationError("give either SEQ or --id")
    settings = live_settings()
    check_log(settings)
    with elasticsearch_client(settings) as search, err.status("explain"):
        if client_msg_id is not None:
            question = explain_command(settings, search, user, conversation, client_msg_id)
        else:
            question = explain_entry(settings, search, user, conversation, SeqId(seq or 0))
        found = asyncio.run(question)
    emit(found) if json else _print(found)


def _print(found: Explanation) -> None:
    out.print(printable(found.verdict), markup=False, soft_wrap=True)
    for fact in found.facts:
        line = f"  {fact.step:<12}{_MARKS[fact.result]:<5}{printable(fact.text)}"
        out.print(line, markup=False, soft_wrap=True)
