"""The receipt that a client holds for a submitted command."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import StrEnum

from schemas.errors import CommandRejected, ImError, NotYet, RejectionCode


class ReceiptState(StrEnum):
    """The state of a command.

    ``QUEUED``: in the outbox. ``ACCEPTED``: acknowledged by the broker, so that it will get a
    SeqId or a rejection. ``SEQUENCED``, ``DUPLICATE`` (it already had a SeqId) and ``REJECTED``
    are final: the command leaves the outbox.
    """

    QUEUED = "queued"
    ACCEPTED = "accepted"
    SEQUENCED = "sequenced"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


class Receipt:
    """Tracks one command. Made by a publisher; thread-safe.

    Attributes:
        client_msg_id: The id of the command.
        state: The state of the command.
        seq: Its SeqId, once known.
        code: Why it was rejected, if it was.
    """

    __slots__ = ("_changed", "_trouble", "client_msg_id", "code", "seq", "state")

    def __init__(
        self,
        client_msg_id: str,
        changed: threading.Condition,
        trouble: Callable[[], ImError | None],
    ) -> None:
        self.client_msg_id = client_msg_id
        self.state = ReceiptState.QUEUED
        self.seq: int | None = None
        self.code: RejectionCode | None = None
        self._changed = changed
        self._trouble = trouble

    def wait_accepted(self, timeout: float) -> None:
        """Wait until the broker has acknowledged the command.

        Args:
            timeout: Seconds.

        Raises:
            NotYet: No acknowledgement within the timeout; sending continues.
            PublisherClosed: The publisher was closed; the command is in the outbox.
        """
        self._wait(lambda: self.state is not ReceiptState.QUEUED, timeout)

    def wait_sequenced(self, timeout: float) -> int:
        """Wait until the SeqId is known. A follower has to pass records to `Publisher.observe`.

        Args:
            timeout: Seconds.

        Returns:
            The SeqId; for a command that was sent before, its first SeqId.

        Raises:
            CommandRejected: The sequencer rejected the command.
            NotYet: No outcome was observed within the timeout; sending continues.
            PublisherClosed: The publisher was closed; the command is in the outbox.
        """
        self._wait(lambda: self.seq is not None or self.code is not None, timeout)
        if self.seq is None:
            assert self.code is not None  # noqa: S101 - the condition of the wait
            raise CommandRejected(self.code, self.client_msg_id)
        return self.seq

    def _wait(self, reached: Callable[[], bool], timeout: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: reached() or self._trouble() is not None, timeout)
            if reached():
                return
            trouble = self._trouble()
        if trouble is not None:
            raise trouble
        raise NotYet(f"command {self.client_msg_id} {self._standing()} after {timeout:g} s")

    def _standing(self) -> str:
        if self.state is ReceiptState.ACCEPTED:
            return "is with the broker, but nothing has passed its outcome to `Publisher.observe`"
        return f"is {self.state}, and the broker has not acknowledged it"
