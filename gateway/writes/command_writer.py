"""Writes one command and waits for its outcome.

1. Refuse a command that the sequencer would reject in any state, and a person beyond their limits.
2. Register the wait, then send the command. Both happen in one step of the event loop, together
   with the generation of an id, so commands reach the log in the order of their generated ids.
3. Wait for the broker's acknowledgement.
4. Wait for the outcome.

Steps 3 and 4 are one wait, with one timeout. A command is remembered after the timeout, so that
its outcome can be read later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from gateway.errors import DeliveryUnknown
from gateway.gateway_metrics import SendOutcome
from gateway.writes.command_producer import CommandLog
from gateway.writes.outcome_waiters import Outcome, OutcomeWaiter, OutcomeWaiters, key_of
from schemas.errors import ImError, ServerUnavailable
from schemas.limits import Limits
from schemas.number_types import Milliseconds
from schemas.records import AnyCommand
from schemas.valid_commands import encode_valid

_NEXT_MILLISECOND: Final = 0.002
"""Pause after which the broker's time of the next command is another one."""


class CommandAdmission(Protocol):
    """The limits of commands, such as `gateway.limits.command_limits.CommandLimits`."""

    def check(self, command: AnyCommand) -> None:
        """Counts a command before it is sent.

        Raises:
            LimitReached: The person or the conversation is beyond a limit.
        """

    def give_back(self, command: AnyCommand) -> None:
        """Notes that a counted command has no effect."""


class CommandWriter:
    """Writes commands.

    Args:
        log: Appends commands.
        waiters: The commands whose outcome somebody waits for.
        limits: The limits of the deployment.
        wait_seconds: The timeout of steps 3 and 4 together.
        admission: Refuses a command beyond a limit.
        count: Counts the outcome of each command.
    """

    def __init__(  # noqa: PLR0913 - the parts of the writer
        self,
        log: CommandLog,
        waiters: OutcomeWaiters,
        limits: Limits,
        wait_seconds: float,
        admission: CommandAdmission,
        *,
        count: Callable[[SendOutcome], None] = lambda _: None,
    ) -> None:
        self._log = log
        self._waiters = waiters
        self._limits = limits
        self._wait_seconds = wait_seconds
        self._admission = admission
        self._count = count

    async def write(self, command: AnyCommand) -> Outcome | None:
        """Writes a command.

        Returns:
            The outcome; None if the broker has the command, but its outcome is not known yet.

        Raises:
            InvalidCommand: The sequencer would reject the command in any state.
            LimitReached: The person or the conversation is beyond a limit.
            ServerUnavailable: The command was not sent, and will not be.
            DeliveryUnknown: The command, or an earlier copy, was sent and is not acknowledged.
        """
        counted: SendOutcome = "failed"
        try:
            outcome = await self._write(command)
        except ImError as error:
            counted = _counted_error(error)
            raise
        else:
            counted = _counted(outcome)
            return outcome
        finally:
            self._count(counted)

    async def _write(self, command: AnyCommand) -> Outcome | None:
        value = encode_valid(command, self._limits)
        self._admission.check(command)
        until = asyncio.get_running_loop().time() + self._wait_seconds
        await self._after_earlier_copy(command, until)
        waiter = self._waiters.register(command)
        try:
            sending = self._log.append(command.conv_id, value)
        except BaseException:
            self._waiters.remove(waiter)
            self._admission.give_back(command)
            raise
        sending.add_done_callback(lambda done: _note_delivery(waiter, done))
        try:
            outcome = await _outcome(waiter, until)
            if outcome is not None and outcome.code is not None:
                self._admission.give_back(command)
            return outcome
        finally:
            if waiter.outcome.done():
                self._waiters.remove(waiter)
            else:
                self._waiters.remember(waiter)

    async def _after_earlier_copy(self, command: AnyCommand, until: float) -> None:
        """Waits while a copy of the command is on its way, so that the two have different times.

        Does not suspend if there is none.

        Raises:
            DeliveryUnknown: The earlier copy is not acknowledged within the timeout.
        """
        while (earlier := self._waiters.undelivered(key_of(command))) is not None:
            await _wait(earlier.delivered, until)
            if not earlier.delivered.done():
                raise DeliveryUnknown(command.client_msg_id)
            await asyncio.sleep(_NEXT_MILLISECOND)


def _counted(outcome: Outcome | None) -> SendOutcome:
    if outcome is None:
        return "pending"
    match outcome.kind:
        case "duplicate" | "rejected":
            return outcome.kind
    return "accepted"


def _counted_error(error: ImError) -> SendOutcome:
    if isinstance(error, DeliveryUnknown):
        return "unknown"
    return "unavailable" if isinstance(error, ServerUnavailable) else "refused"


async def _outcome(waiter: OutcomeWaiter, until: float) -> Outcome | None:
    await _wait(waiter.settled, until)
    if not (waiter.delivered.done() and waiter.delivered.result()):
        raise DeliveryUnknown(waiter.key[2])
    return waiter.outcome.result() if waiter.outcome.done() else None


async def _wait(future: asyncio.Future[bool] | asyncio.Future[None], until: float) -> None:
    """Waits without cancelling the future."""
    if not future.done():
        await asyncio.wait([future], timeout=until - asyncio.get_running_loop().time())


def _note_delivery(waiter: OutcomeWaiter, done: asyncio.Future[Milliseconds | None]) -> None:
    if done.cancelled() or done.exception() is not None:
        waiter.give_up()
    else:
        waiter.acknowledge(done.result())
