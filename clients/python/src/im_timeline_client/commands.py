"""Commands: sent until their outcome is known, with one effect.

The commands of one conversation are sent one after the other, because the ids of one conversation,
device and installation have to increase.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast
from weakref import WeakValueDictionary

from im_timeline_client.backoff import pauses
from im_timeline_client.errors import (
    CommandRejected,
    GatewayUnavailable,
    OutcomeUnknown,
    RequestRefused,
)
from im_timeline_client.gateway import Gateway
from im_timeline_client.routes import Route

T = TypeVar("T")

FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 5.0
"""Bounds of the pause between two attempts."""

LAST_ATTEMPT_SECONDS: Final = 3.0
"""An attempt has at least this time, also at the end: the gateway waits 2 s for an outcome."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command with its ids. The same command again has no second effect.

    ``conv_id`` is empty if the gateway chooses the id of the conversation.
    """

    route: Route[Any]
    path: str
    conv_id: str
    body: Mapping[str, object] = field(repr=False)

    @property
    def client_msg_id(self) -> str:
        """The id of the command."""
        return str(self.body["client_msg_id"])


class CommandSender:
    """Sends the commands of one client.

    Args:
        seconds: How long to wait for the outcome of a command.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def in_order(self, conv_id: str) -> AsyncIterator[None]:
        """Hold a conversation, to make an id and send a command.

        Raises:
            GatewayUnavailable: Earlier commands of the conversation have no outcome in time.
        """
        lock = self._locks.get(conv_id)
        if lock is None:
            lock = self._locks[conv_id] = asyncio.Lock()
        try:
            async with asyncio.timeout(self._seconds):
                await lock.acquire()
        except TimeoutError:
            raise GatewayUnavailable("earlier commands wait for their outcome") from None
        try:
            yield
        finally:
            lock.release()

    async def outcome_of(self, gateway: Gateway, command: Command) -> Any:
        """Send a command until its outcome is known; return the answer of its route.

        Raises:
            CommandRejected: The sequencer rejected the command.
            RequestRefused: The gateway refuses the request, such as for a wrong token.
            OutcomeUnknown: The outcome is not known in time.
            GatewayUnavailable: The gateway does not answer in time, and the command has no effect.
        """
        attempts = _Attempts(command, time.monotonic() + self._seconds)
        while True:
            try:
                async with asyncio.timeout(max(attempts.left(), LAST_ATTEMPT_SECONDS)):
                    answer = await _once(gateway, command)
                if answer is not None:
                    return answer
                attempts.note_sent()
            except GatewayUnavailable as failure:
                attempts.note(failure)
            except TimeoutError:
                attempts.note_sent()
            await asyncio.sleep(attempts.pause())


async def _once(gateway: Gateway, command: Command) -> object | None:
    try:
        return cast(
            object | None,
            await gateway.write(command.route, command.path, dict(command.body)),
        )
    except RequestRefused as refused:
        if refused.code is None:
            raise
        raise CommandRejected(refused.code, command.client_msg_id) from None


class _Attempts:
    """The attempts of one command, until a time of the monotonic clock."""

    def __init__(self, command: Command, deadline: float) -> None:
        self._command = command
        self._deadline = deadline
        self._pauses = pauses(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        self._is_sent = False
        self._last = GatewayUnavailable("the gateway did not answer in time")

    def left(self) -> float:
        """Return the seconds until the deadline."""
        return max(0.0, self._deadline - time.monotonic())

    def note_sent(self) -> None:
        """Note that the command may have an effect."""
        self._is_sent = True
        self._last = GatewayUnavailable("the outcome is not known in time")

    def note(self, failure: GatewayUnavailable) -> None:
        """Note a failed attempt."""
        self._is_sent |= failure.is_effect_possible
        self._last = failure

    def pause(self) -> float:
        """Return the pause before the next attempt.

        Raises:
            OutcomeUnknown: There is no time for another attempt, and the command was sent.
            GatewayUnavailable: There is no time, and the command has no effect.
        """
        pause = max(next(self._pauses), self._last.retry_after)
        if pause < self.left():
            return pause
        if self._is_sent:
            raise OutcomeUnknown(self._command) from self._last
        raise self._last
