"""A world in which a sync sink skips a recipient while the recipient's device comes back.

The script is a list of integers. Each choice takes the next number. Before each read of the store,
the world takes some steps of the script, so a gateway's reads fall between any two writes of the
sinks. After the end of the script, nothing fails any more.

Two processes of the sync sink write at the same time. Each starts at a committed position, and
each has read its own part of the contacts. A request of a killed process may arrive much later.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, NamedTuple, TypeAlias

from gateway.store.store_port import ConversationHead, Expiry, StoredEntry, StoredRow
from schemas.errors import ServerUnavailable
from schemas.lifetime import SKIPPED_SINCE, SKIPPED_UNTIL, inactive_after, retention_times
from schemas.number_types import BucketNumber, SeqId, SyncSeqId
from schemas.sync_rows import SyncRow
from tests.support.gateway_store import FakeStore, key_of, message

LIFETIME: Final = 16
"""In seconds."""

KEPT: Final = retention_times(timedelta(seconds=LIFETIME))
INACTIVE_AFTER: Final = inactive_after(timedelta(seconds=LIFETIME)).total_seconds()
APART: Final = 3_000
"""Distance between two sync SeqIds, so that several buckets are used."""

PROCESSES: Final = 2


class Note(NamedTuple):
    """The sink's note in place of rows: the highest skipped record."""

    newest: int


Part: TypeAlias = SyncRow | Note
"""The content of one request of the sink."""


class Sink:
    """One process of the sync sink.

    Attributes:
        place: Number of durable records.
        contact: The newest contact that the process has read.
        flush: The remaining parts of the current flush; the first part is in flight.
        count: Number of records in the flush.
    """

    def __init__(self, place: int, contact: float | None) -> None:
        self.place = place
        self.contact = contact
        self.flush: list[Part] = []
        self.count = 0


class World:
    """The log, the contacts, the sinks and the store.

    Args:
        script: The choices; see the module.
        skips: Whether the sinks skip an inactive recipient.
    """

    def __init__(self, script: Sequence[int], *, skips: bool = True) -> None:
        self._script = iter(script)
        self._skips = skips
        self.now = 1_000.0
        self.said = 0
        self.stored = 0
        self.committed = 0
        self.contacts: list[float] = []
        self.store = WorldStore(self)
        self.sinks = [Sink(0, None) for _ in range(PROCESSES)]
        self.late: list[Part] = []
        self.skipped: set[int] = set()
        self.written: set[int] = set()

    def choose(self, choices: int) -> int:
        """The next number of the script, below ``choices``; 0 at its end."""
        return next(self._script, 0) % choices

    def go_on(self) -> None:
        """Takes some steps, each by any participant."""
        for _ in range(self.choose(5)):
            self._step()

    def _step(self) -> None:
        choice = self.choose(10)
        sink = self.sinks[self.choose(PROCESSES)]
        if choice == 0:
            self.said += 1 + self.choose(3)
        elif choice == 1:
            self.store_entries(1 + self.choose(4))
        elif choice == 2:
            self._pass(self.choose(2 * LIFETIME))
        elif choice == 3:
            self._restart(sink)
        elif choice == 4 and self.late:
            self._arrive(self.late.pop(self.choose(len(self.late))))
        elif choice == 5:
            self._fail(sink)
        elif choice == 6:
            self.committed = max(self.committed, sink.place)
        else:
            self._write(sink)

    def _pass(self, seconds: float) -> None:
        """Time passes. The message sink may lag for any time."""
        self.now += seconds
        self.store.drop_expired(self.now)

    def store_entries(self, count: int) -> None:
        """The message sink stores up to this number of entries."""
        for seq in range(self.stored + 1, min(self.said, self.stored + count) + 1):
            self.store.put_message(message("c", seq))
            self.store.put_conversation("c", seq)
            self.stored = seq

    def _restart(self, sink: Sink) -> None:
        """Kills the process; a new one reads all contacts and starts at the committed position.

        The request in flight may still arrive.
        """
        self.late += sink.flush[:1]
        newest = max(self.contacts, default=None)
        sink.__init__(self.committed, newest)  # type: ignore[misc]

    def _fail(self, sink: Sink) -> None:
        """A request fails, so the whole batch is written again."""
        self.late += sink.flush[:1]
        sink.flush = []

    def _write(self, sink: Sink) -> None:
        """The next request of a flush becomes durable, or the next flush begins."""
        if not sink.flush:
            self._begin(sink)
            return
        self._arrive(sink.flush.pop(0))
        if not sink.flush:
            sink.place += sink.count

    def _begin(self, sink: Sink) -> None:
        unread = [each for each in self.contacts if sink.contact is None or each > sink.contact]
        if unread:  # a poll does not wait, so it may return only some of the contacts
            sink.contact = unread[self.choose(len(unread))]
        sink.count = min(1 + self.choose(6), self.said - sink.place)
        seqs = range(sink.place + 1, sink.place + sink.count + 1)
        if not seqs:
            return
        if self._skips and (sink.contact or 0.0) < self.now - INACTIVE_AFTER:
            sink.flush = [Note(seqs[-1] * APART)]
            return
        size = 1 + self.choose(3)
        sink.flush = [
            _row(part)
            for _, of_bucket in itertools.groupby(seqs, lambda seq: seq * APART // 10_000)
            for part in _cut(list(of_bucket), size)
        ]

    def _arrive(self, part: Part) -> None:
        if isinstance(part, Note):
            self.store.put_expiry("ann", SKIPPED_SINCE, SKIPPED_UNTIL, part.newest)
            self.skipped.add(part.newest // APART)
            return
        since = KEPT.since(self.now)
        key = key_of(part)
        self.store.put_row("ann", part)
        self.store.row_ends[key] = self.now + KEPT.ttl
        self.store.put_expiry("ann", since, int(since + KEPT.surely), key)
        self.written.add(key // APART)

    def settle(self) -> None:
        """Ends the script. One process that has read all contacts stores all remaining records."""
        self._script = iter(())
        self.store_entries(self.said)
        sink = self.sinks[0]
        self._restart(sink)
        while sink.place < self.said:
            self._write(sink)
        self.committed = sink.place


class WorldStore(FakeStore):
    """A store that changes before each read, and whose rows expire."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.row_ends: dict[int, float] = {}
        self._world = world

    def drop_expired(self, now: float) -> None:
        """Removes the rows whose TTL is over."""
        for key in [key for key, end in self.row_ends.items() if end <= now]:
            self.drop_record("ann", key)
            del self.row_ends[key]

    async def conversation(self, conv_id: str) -> ConversationHead | None:
        self._world.go_on()
        return await super().conversation(conv_id)

    async def chosen_entries(self, conv_id: str, seqs: list[SeqId]) -> list[StoredEntry]:
        self._world.go_on()
        return await super().chosen_entries(conv_id, seqs)

    async def sync_buckets(self, user: str, first: BucketNumber, limit: int) -> list[BucketNumber]:
        self._world.go_on()
        return await super().sync_buckets(user, first, limit)

    async def sync_rows(
        self, user: str, bucket: BucketNumber, after: SyncSeqId, limit: int
    ) -> list[StoredRow]:
        self._world.go_on()
        return await super().sync_rows(user, bucket, after, limit)

    async def sync_rows_back(
        self, user: str, bucket: BucketNumber, before: SyncSeqId, limit: int
    ) -> list[StoredRow]:
        self._world.go_on()
        return await super().sync_rows_back(user, bucket, before, limit)

    async def expiries(self, user: str, limit: int) -> list[Expiry]:
        self._world.go_on()
        return await super().expiries(user, limit)


class WorldBarrier:
    """`barrier.Barrier` in the world: reads the log's end, then waits for the store."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def passed(self, user: str, newest: SyncSeqId) -> None:
        """See `Barrier`."""
        del user, newest
        end = self._world.said
        for _ in range(5):
            if self._world.stored >= end:
                return
            self._world.go_on()
        raise ServerUnavailable("the message sink is behind")


def _row(seqs: Sequence[int]) -> SyncRow:
    return SyncRow(entries={"c": [number for seq in seqs for number in (seq * APART, seq)]})


def _cut(seqs: list[int], size: int) -> list[list[int]]:
    return [seqs[at : at + size] for at in range(0, len(seqs), size)]
