"""The answer to a command, over HTTP and over a live connection: its outcome, never a guess."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final, NamedTuple
from urllib.parse import quote

from gateway.errors import CommandNotFound
from gateway.store.store_port import Store
from gateway.writes.command_ids import CommandIds
from gateway.writes.command_writer import CommandWriter
from gateway.writes.outcome_waiters import Outcome, OutcomeWaiters
from schemas.codec import decode_position
from schemas.errors import CommandRejected, ServerUnavailable, UndecodableRecord
from schemas.http.answers import CommandAnswer, CommandPending, CommandState, CommandStatus
from schemas.number_types import Milliseconds
from schemas.records import AnyCommand, makes_no_entry

_ATTEMPTS: Final = 10
_PAUSE_SECONDS: Final = 0.05
"""The entry of a command that was repeated at once may not be stored yet."""


class Writes(NamedTuple):
    """The parts of the gateway that write."""

    writer: CommandWriter
    waiters: OutcomeWaiters
    ids: CommandIds


async def answer_command(
    writes: Writes, store: Store, command: AnyCommand
) -> CommandAnswer | CommandPending:
    """Writes a command and returns its outcome.

    Raises:
        CommandRejected: The command has no effect.
        InvalidCommand, ServerUnavailable, DeliveryUnknown: See `CommandWriter.write`.
    """
    outcome = await writes.writer.write(command)
    if outcome is None:
        return CommandPending(
            conv_id=command.conv_id,
            client_msg_id=command.client_msg_id,
            status=status_path(command),
        )
    if outcome.code is not None:
        raise CommandRejected(outcome.code, command.client_msg_id)
    return CommandAnswer(
        conv_id=command.conv_id,
        seq=outcome.seq,
        at=await _time(store, command, outcome),
        client_msg_id=command.client_msg_id,
    )


def status_path(command: AnyCommand) -> str:
    """The path of the status of a command."""
    conversation = quote(command.conv_id, safe="")
    return f"/v1/commands/{command.client_msg_id}?conversation={conversation}"


def command_status(
    waiters: OutcomeWaiters, user: str, conv_id: str, client_msg_id: str
) -> CommandStatus:
    """The state of a command of ``user`` whose request ended without its outcome.

    Raises:
        CommandNotFound: This gateway does not remember the command.
    """
    waiter = waiters.late((conv_id, user, client_msg_id))
    if waiter is None:
        raise CommandNotFound
    if waiter.outcome.done():
        outcome = waiter.outcome.result()
        if outcome.code is not None:
            return CommandStatus(
                conv_id=conv_id, client_msg_id=client_msg_id, state="rejected", code=outcome.code
            )
        return CommandStatus(
            conv_id=conv_id, client_msg_id=client_msg_id, state="sequenced", seq=outcome.seq
        )
    is_delivered = waiter.delivered.done() and waiter.delivered.result()
    state: CommandState = "pending" if is_delivered else "unknown"
    return CommandStatus(conv_id=conv_id, client_msg_id=client_msg_id, state=state)


async def _time(store: Store, command: AnyCommand, outcome: Outcome) -> Milliseconds | None:
    """The time of the entry; of an earlier entry by its stored form."""
    if outcome.kind != "duplicate" or makes_no_entry(command):
        return outcome.at
    with suppress(ServerUnavailable, UndecodableRecord):
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(_PAUSE_SECONDS)
            for entry in await store.entries(command.conv_id, outcome.seq, outcome.seq):
                return None if entry.is_recalled else decode_position(entry.json).at
    return None
