"""`im history`, `im conversations`, `im sync`, `im search`: read the gateway as one user."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Annotated, TypeVar

import aiohttp
import msgspec
import typer
from msgspec import Raw, Struct

from gateway.reads.search_terms import parse_query
from ops.commands.arguments import ConversationArgument, UserArgument, valid_id
from ops.console import Json
from ops.deployment.running import live_settings
from ops.gateway_reader import GatewayReader
from ops.lines import conversation_line, history_line, hit_line, sync_line
from schemas.limits import MAX_SEQ
from schemas.settings import Settings

ItemT = TypeVar("ItemT")

As = Annotated[str, typer.Option("--as", metavar="USER", help="The reader.", callback=valid_id)]
_First = Annotated[
    int | None, typer.Option("--from", min=1, max=MAX_SEQ, help="The lowest SeqId.")
]
_Last = Annotated[int | None, typer.Option("--to", min=1, max=MAX_SEQ, help="The highest SeqId.")]
_Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Maximum number of results.")]


def history(
    conversation: ConversationArgument,
    user: As,
    first: Annotated[
        int | None, typer.Option("--from", min=1, max=MAX_SEQ, help="The lowest SeqId.")
    ] = None,
    last: Annotated[
        int | None, typer.Option("--to", min=1, max=MAX_SEQ, help="The highest SeqId.")
    ] = None,
    *,
    json: Json = False,
) -> None:
    """Show a conversation as USER may see it, from the store."""
    _show(
        user,
        lambda reader: reader.history(conversation, first, last),
        _raw if json else history_line,
    )


def conversations(
    user: UserArgument,
    *,
    json: Json = False,
) -> None:
    """Show USER's conversations: head, read mark and number of unread messages of each."""
    _show(user, lambda reader: reader.conversations(), _json if json else conversation_line)


def sync(
    user: UserArgument,
    after: Annotated[
        int | None, typer.Option("--after", min=-1, help="Sync SeqId; shows later records.")
    ] = None,
    limit: _Limit = None,
    *,
    json: Json = False,
) -> None:
    """Show the records of USER's sync timeline, in order."""
    _show(
        user,
        lambda reader: reader.sync(after, limit),
        _json if json else lambda line: sync_line(line.sync_seq, line.record),
    )


def search(
    query: Annotated[str, typer.Argument(help='Words that must all occur; "phrases" in quotes.')],
    user: As,
    limit: _Limit = None,
    *,
    json: Json = False,
) -> None:
    """Find messages that USER may see, newest first."""
    with suppress(ValueError):  # the gateway reports the error in the query
        if parse_query(query).is_cut:
            typer.echo("the query is too long: only its first part is used", err=True)
    _show(user, lambda reader: reader.search(query, limit), _raw if json else hit_line)


def _show(
    user: str,
    read: Callable[[GatewayReader], AsyncIterator[ItemT]],
    line: Callable[[ItemT], str],
) -> None:
    asyncio.run(_print_lines(live_settings(), user, read, line))


async def _print_lines(
    settings: Settings,
    user: str,
    read: Callable[[GatewayReader], AsyncIterator[ItemT]],
    line: Callable[[ItemT], str],
) -> None:
    async with aiohttp.ClientSession() as http:
        async for item in read(GatewayReader(settings, user, http)):
            typer.echo(line(item))


def _raw(item: Raw) -> str:
    return bytes(item).decode()


def _json(item: Struct) -> str:
    return msgspec.json.encode(item).decode()
