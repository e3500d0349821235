"""Passes outcomes of commands from the thread that follows the log to the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from threading import Lock
from typing import Final, Protocol

from schemas.codec import decode_outcome_fields
from schemas.errors import UndecodableRecord
from schemas.records import OutcomeFields

_REPLIES: Final = frozenset({"rejected", "duplicate", "read_marked", "conversation_muted"})

ReadValue = Callable[[], bytes | None]
"""Returns the value of a record, which is copied only if it is needed."""


class OutcomeTaker(Protocol):
    """Takes the outcomes on the event loop. Only records that concern a command are decoded."""

    def concerns_conversation(self, key: bytes) -> bool:
        """Whether a command of this conversation has no outcome yet. Called from any thread."""

    def concerns_sender(self, key: bytes) -> bool:
        """Whether a command of this person has no outcome yet. Called from any thread."""

    def offer(self, outcomes: list[OutcomeFields]) -> None:
        """Takes outcomes, in the order of the log of each conversation."""


class NoOutcomes:
    """Nobody waits for an outcome."""

    def concerns_conversation(self, key: bytes) -> bool:  # noqa: ARG002 - of the port
        """See `OutcomeTaker`."""
        return False

    def concerns_sender(self, key: bytes) -> bool:  # noqa: ARG002 - of the port
        """See `OutcomeTaker`."""
        return False

    def offer(self, outcomes: list[OutcomeFields]) -> None:
        """See `OutcomeTaker`."""


class OutcomeTail:
    """Finds outcomes among the records of the log. Created on the event loop of ``taker``.

    Args:
        taker: Takes the outcomes.
    """

    def __init__(self, taker: OutcomeTaker) -> None:
        self._taker = taker
        self._loop = asyncio.get_running_loop()
        self._lock = Lock()
        self._outcomes: list[OutcomeFields] = []

    def entry(self, key: bytes, value: ReadValue) -> None:
        """Takes an entry of the conversation ``key``, in the thread that follows the log."""
        if self._taker.concerns_conversation(key):
            self._decode(value())

    def sync_record(self, key: bytes, value: ReadValue) -> None:
        """Takes a sync record. Only a reply counts: its key is its only recipient, the sender."""
        if self._taker.concerns_sender(key):
            self._decode(value(), _REPLIES)

    def _decode(self, value: bytes | None, kinds: frozenset[str] | None = None) -> None:
        with contextlib.suppress(UndecodableRecord):  # from a later version
            fields = decode_outcome_fields(value)
            if fields.client_msg_id and (kinds is None or fields.kind in kinds):
                self._hand_over(fields)

    def _hand_over(self, fields: OutcomeFields) -> None:
        with self._lock:
            first = not self._outcomes
            self._outcomes.append(fields)
        if first:  # otherwise an earlier outcome has woken the loop already
            with contextlib.suppress(RuntimeError):  # the loop has ended, so nobody waits
                self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        with self._lock:
            outcomes, self._outcomes = self._outcomes, []
        self._taker.offer(outcomes)
