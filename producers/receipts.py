"""What a client holds of a command that it has handed over."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import StrEnum

from schemas.errors import CommandRejected, ImError, NotYet, RejectionCode


class State(StrEnum):
    """How far a command has come.

    ``QUEUED``: in the outbox. ``ACCEPTED``: the broker has acknowledged it, so it gets its SeqId
    or a rejection. ``SEQUENCED``, ``DUPLICATE`` (it had its SeqId before) and ``REJECTED`` are
    final: it has left the outbox.
    """

    QUEUED = "queued"
    ACCEPTED = "accepted"
    SEQUENCED = "sequenced"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


class Receipt:
    """Follows one command. Made by a publisher; may be asked and waited on from any thread.

    Attributes:
        client_msg_id: The command's id.
        state: How far it has come.
        seq: Its SeqId, once it is known.
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
        self.state = State.QUEUED
        self.seq: int | None = None
        self.code: RejectionCode | None = None
        self._changed = changed
        self._trouble = trouble

    def wait_accepted(self, timeout: float) -> None:
        """Waits until the broker has the command.

        Args:
            timeout: Seconds.

        Raises:
            NotYet: It has not within the bound; the command goes on.
            PublisherClosed: Nobody works on it any more; it is in the outbox.
        """
        self._wait(lambda: self.state is not State.QUEUED, timeout)

    def wait_sequenced(self, timeout: float) -> int:
        """Waits until the command's SeqId is known. Somebody has to feed `Publisher.observe`.

        Args:
            timeout: Seconds.

        Returns:
            The SeqId; that of the first time, if the command was sent before.

        Raises:
            CommandRejected: The sequencer refused it.
            NotYet: Its outcome was not seen within the bound; the command goes on.
            PublisherClosed: Nobody works on it any more; it is in the outbox.
        """
        self._wait(lambda: self.seq is not None or self.code is not None, timeout)
        if self.seq is None:
            assert self.code is not None  # noqa: S101 - that is what was waited for
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
        if self.state is State.ACCEPTED:
            return "is with the broker, but nothing has passed its outcome to `Publisher.observe`"
        return f"is {self.state}, and the broker has not acknowledged it"
