"""`gateway.writes.command_producer.CommandLog` in memory, with the real sequencer behind it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from gateway.log.outcome_tail import OutcomeTail, OutcomeTaker
from gateway.writes.command_producer import NotAcknowledged
from schemas.errors import ServerUnavailable
from schemas.limits import Limits
from schemas.number_types import Milliseconds, Offset
from stream_processors.sequencing.record_writer import RejectedRecord
from stream_processors.sequencing.sequencer import Sequencer
from stream_processors.state.conversations import Conversations
from stream_processors.state.state_codec import LaneProgress
from tests.support.sequencing import Source

BEGIN_MS: Final = 1_764_000_000_000
"""The broker's time of the first command. Each command is a millisecond later."""


class SequencedLog:
    """Acknowledges and sequences each command at once, unless a test switches this off.

    Attributes:
        is_away: The log refuses commands.
        acknowledges: Whether commands are acknowledged at once.
        sequences: Whether acknowledged commands are sequenced at once.
        sources: All commands that reached the log.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.is_away = False
        self.acknowledges = self.sequences = True
        self.sources: list[Source] = []
        self.entries: list[tuple[str, bytes]] = []
        self._sequencer = Sequencer(limits or Limits(), Conversations(1_000), LaneProgress())
        self._tail: OutcomeTail | None = None
        self._undelivered: deque[tuple[asyncio.Future[Milliseconds | None], str, bytes]] = deque()

    @property
    def undelivered(self) -> int:
        """The number of commands without an acknowledgement."""
        return len(self._undelivered)

    def feed(self, taker: OutcomeTaker) -> None:
        """Passes all later outcomes to ``taker``."""
        self._tail = OutcomeTail(taker)

    def append(self, conv_id: str, value: bytes) -> asyncio.Future[Milliseconds | None]:
        """See `CommandLog`."""
        if self.is_away:
            raise ServerUnavailable("switched off by the test")
        sending: asyncio.Future[Milliseconds | None] = asyncio.get_running_loop().create_future()
        self._undelivered.append((sending, conv_id, value))
        if self.acknowledges:
            self.acknowledge()
        return sending

    def acknowledge(self, *, is_timed: bool = True) -> None:
        """Acknowledges the commands that wait; without ``is_timed`` without their times."""
        while self._undelivered:
            sending, conv_id, value = self._undelivered.popleft()
            at = self._take(conv_id, value)
            sending.set_result(Milliseconds(at) if is_timed else None)
        if self.sequences:
            self.sequence()

    def lose(self, *, is_in_log: bool) -> None:
        """The producer gives up the commands that wait. ``is_in_log``: the broker has them."""
        while self._undelivered:
            sending, conv_id, value = self._undelivered.popleft()
            if is_in_log:
                self._take(conv_id, value)
            sending.set_exception(NotAcknowledged("lost by the test"))
        if self.sequences:
            self.sequence()

    def sequence(self) -> None:
        """Sequences the commands on the log."""
        for source in self.sources[self._sequencer.progress.next_offset :]:
            self._sequencer.process(source, self)

    def timeline(self, conv_id: str, value: bytes) -> None:
        """See `RecordWriter`."""
        self.entries.append((conv_id, value))
        if self._tail is not None:
            self._tail.entry(conv_id.encode(), lambda: value)

    def sync(self, recipients: Sequence[str], value: bytes) -> int:
        """See `RecordWriter`."""
        for recipient in recipients:
            if self._tail is not None:
                self._tail.sync_record(recipient.encode(), lambda: value)
        return len(recipients)

    def state(self, key: bytes, value: bytes | None) -> None:
        """See `RecordWriter`."""

    def dead_letter(self, letter: RejectedRecord) -> None:
        """See `RecordWriter`. The gateway writes commands only."""
        raise AssertionError(letter.reason)

    def _take(self, conv_id: str, value: bytes) -> int:
        at = BEGIN_MS + len(self.sources)
        self.sources.append(
            Source(Offset(len(self.sources)), Milliseconds(at), conv_id.encode(), value)
        )
        return at
