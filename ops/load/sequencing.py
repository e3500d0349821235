"""Collect the outcomes of the commands that a load sends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

from backends.stages.stage_names import SEQUENCER
from consumers.timeline_tail import Positions, TimelineTail, ends
from ops.load.ledger import Ledger
from ops.load.waiting import PROGRESS_READ_SECONDS, Patience, StageOffsets, is_past, patient_ends
from schemas.number_types import Offset
from schemas.settings import Settings
from schemas.topics import Topic


class Sequencing:
    """Reads the outcomes of commands into a ledger. A context manager.

    Reading starts at the ends that the topics have at creation: create it before sending.

    1. Entries are read from ``im.timeline`` all the time: nearly every command has one.
    2. A command without an entry, although the sequencer has passed it, is a duplicate or was
       rejected. Its reply is on ``im.sync``, which is many times longer and is read only then.

    Args:
        settings: The deployment.
        ledger: Receives the outcomes.
        patience_seconds: Maximum time without progress of the sequencer.
        moved: Called whenever the ledger may have changed.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        patience_seconds: float,
        moved: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._patience_seconds = patience_seconds
        self._moved = moved
        self._offsets = StageOffsets(settings, SEQUENCER)
        self._replies_from = ends(settings, Topic.SYNC, committed_only=True)
        self._tail = TimelineTail(settings, ends(settings, Topic.TIMELINE, committed_only=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._tail.close()

    def read(self, timeout: float) -> None:
        """Process the entries that arrived. Wait up to ``timeout`` seconds for the first."""
        for record in self._tail.read(timeout):
            self._ledger.see_entry(record.value)
        self._moved()

    def read_for(self, seconds: float) -> None:
        """Process entries for this number of seconds."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.read(left)

    def make_room(self, room_for: Callable[[], bool]) -> None:
        """Read until there is room, or until every sent command has an outcome.

        Call after the broker has acknowledged every sent command.

        Args:
            room_for: Returns whether there is room.

        Raises:
            Stalled: The sequencer made no progress for too long.
        """
        patience = self._patience()
        target = self._sent()
        while not room_for():
            self.read(PROGRESS_READ_SECONDS)
            if is_past(self._offsets.now(), target):
                self.settle()
                return
            self._check(patience)

    def settle(self) -> None:
        """Read the outcome of every command. Call after the broker has acknowledged all commands.

        Raises:
            Stalled: The sequencer made no progress for too long.
        """
        patience = self._patience()
        target = self._sent()
        while not is_past(self._offsets.now(), target):
            self._check(patience)
            self.read(PROGRESS_READ_SECONDS)
        self._read_all(self._tail, self._written(Topic.TIMELINE), self._ledger.see_entry)
        if len(self._ledger):
            self._read_replies()
        self._ledger.close()

    def _read_replies(self) -> None:
        end = self._written(Topic.SYNC)
        start = {
            shard: self._replies_from.get(shard, Offset(0)) for shard in end
        }  # a shard may be new
        with TimelineTail(self._settings, start, Topic.SYNC) as tail:
            self._read_all(tail, end, self._ledger.see_sync_record)
            self._replies_from = tail.positions()

    def _read_all(
        self, tail: TimelineTail, end: Positions, see: Callable[[bytes | None], None]
    ) -> None:
        for records in tail.read_until(end, self._patience_seconds):
            for record in records:
                see(record.value)
            self._moved()

    def _written(self, topic: Topic) -> Positions:
        """The end of a topic, including open transactions: the stable end may lag the commit."""
        return patient_ends(self._settings, topic, self._patience_seconds)

    def _sent(self) -> Positions:
        return self._written(Topic.MESSAGES)

    def _patience(self) -> Patience:
        return Patience("the sequencer", self._patience_seconds)

    def _check(self, patience: Patience) -> None:
        done, waiting = self._ledger.settled, len(self._ledger)
        patience.check(
            (done, sum(self._offsets.now().values())), f"with {waiting} commands not sequenced"
        )
