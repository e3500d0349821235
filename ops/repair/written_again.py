"""Writes what copies lack, by the writers of the sinks.

The order is that of the sinks, except that recalls are written before the messages: the text of a
recalled message is never readable.

1. Memberships.
2. Edits and recalls, then messages and the read marks of their senders.
3. Conversations: a head is visible when all entries up to it are stored.
4. Documents of the index.
5. Sync records, then listings and notes on expiry, then the marks of devices.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import Final, TypeVar

from msgspec import Struct

from audit.audit import AuditedData
from audit.log import KafkaRecord
from audit.sources import Sources
from audit.topic_readers import OffsetSpan
from backends.identity.log_identity import check_log
from ops.repair.lacks import Delivery, EntryPlace, Lacks
from ops.storing_again import deliver_now
from schemas.codec import decode_position
from schemas.errors import ImError, PoisonRecord
from schemas.number_types import Offset
from schemas.settings import Settings
from sinks.assembly import STAGES
from sinks.base.records import Record
from sinks.base.writer_port import StoreWriter, WriteOutcome
from sinks.cassandra.messages import MessageWriter, StorePart
from sinks.cassandra.sync_late import LateSyncWriter
from sinks.cassandra.sync_places import SyncPlacement, sort_out
from sinks.cassandra.sync_writer import SyncWriter

WRITE_RECORDS: Final = 1_000
"""Records of one write."""

_ORDER: Final = (
    StorePart.MEMBERSHIP,
    StorePart.ALTERATION,
    StorePart.MESSAGE,
    StorePart.OWN_MARK,
    StorePart.CONVERSATION,
)

_ItemT = TypeVar("_ItemT")


class WrittenAgain(Struct):
    """The numbers of rows and documents that were written, by kind; the reasons of refusals."""

    counts: dict[str, int] = {}
    refused: list[str] = []

    def note(self, what: str, number: int, reasons: Sequence[str] = ()) -> None:
        """Adds the result of one write."""
        if number:
            self.counts[what] = self.counts.get(what, 0) + number
        self.refused.extend(reasons)


class _PartWriter:
    """`StoreWriter` for the rows of one kind."""

    def __init__(self, writer: MessageWriter, part: StorePart) -> None:
        self._writer = writer
        self._part = part

    def write(self, records: Sequence[Record]) -> WriteOutcome:
        """See `StoreWriter`."""
        return self._writer.write_part(self._part, records)


class RepairWriter:
    """Writes to the store and to the index of a deployment.

    Args:
        settings: The deployment.
        sources: Reads the log.
        data: The audited data.
    """

    def __init__(self, settings: Settings, sources: Sources, data: AuditedData) -> None:
        self._settings = settings
        self._sources = sources
        self._data = data
        self._deployment = check_log(settings)
        self._stack = ExitStack()

    def write(self, lacks: Lacks) -> WrittenAgain:
        """Writes all that is lacking, and returns when it is durable.

        Raises:
            ServerUnavailable: A server does not answer.
            TransientFailure: A store does not accept the rows within a bound.
            FatalFailure: A store refuses this client.
        """
        done = WrittenAgain()
        with self._stack:
            entries = self._entries(lacks.entries())
            self._write_rows(lacks, entries, done)
            if lacks.documents:
                found = [entries[place] for place in sorted(lacks.documents) if place in entries]
                self._deliver(self._writer("search"), found, "documents", done)
            if lacks.deliveries or lacks.listings or lacks.marks:
                self._write_sync(lacks, done)
        return done

    def _writer(self, stage: str) -> StoreWriter:
        writer = STAGES[stage].open_writer(self._settings, self._deployment)
        return self._stack.enter_context(writer)

    def _entries(self, places: set[EntryPlace]) -> dict[EntryPlace, Record]:
        """The records of entries. A record of the log that has no such entry is left out."""
        spans: dict[int, tuple[Offset, Offset]] = {}
        for conv_id, seq in places:
            conversation = self._data.log.conversations[conv_id]
            offset = Offset(conversation.offsets[seq - 1])
            low, high = spans.get(conversation.partition, (offset, offset))
            spans[conversation.partition] = (min(low, offset), max(high, offset))
        asked = [OffsetSpan(n, low, Offset(high + 1)) for n, (low, high) in sorted(spans.items())]
        found: dict[EntryPlace, Record] = {}
        for record in self._sources.timeline(asked):
            place = _place_of(record)
            if place in places:
                found.setdefault(place, Record(*record))
        return found

    def _write_rows(
        self, lacks: Lacks, entries: dict[EntryPlace, Record], done: WrittenAgain
    ) -> None:
        if not any(lacks.rows.values()):
            return
        writer = self._writer("message")
        assert isinstance(writer, MessageWriter)  # noqa: S101 - the stage's own type
        for part in _ORDER:
            records = [entries[p] for p in sorted(lacks.rows[part]) if p in entries]
            self._deliver(_PartWriter(writer, part), records, f"rows: {part.value}", done)

    def _deliver(
        self, writer: StoreWriter, records: Sequence[Record], what: str, done: WrittenAgain
    ) -> None:
        for batch in _batches(records):
            reasons = deliver_now(writer, batch)
            done.note(what, len(batch) - len(reasons), reasons)

    def _write_sync(self, lacks: Lacks, done: WrittenAgain) -> None:
        writer = self._writer("sync")
        assert isinstance(writer, SyncWriter)  # noqa: S101 - the stage's own type
        late = LateSyncWriter(writer)
        for number, deliveries in lacks.deliveries.items():
            by_user, records = self._placements(number, deliveries)
            for user, places in by_user.items():
                refused = late.add(user, places)
                done.note("sync records", len(places) - len(refused), _reasons(refused, records))
        for listed, bucket in sorted(lacks.listings):
            late.list_again(listed.encode(), bucket)
            done.note("listings and notes", 1)
        if lacks.marks:
            self._write_marks(writer, lacks.marks, done)

    def _write_marks(
        self, writer: SyncWriter, people: set[tuple[str, str]], done: WrittenAgain
    ) -> None:
        """Reads the shards of these people again: their last mark and their last mute count."""
        shards = {
            shard.number: shard for _, user in people for shard in self._data.shards.chain(user)
        }
        for number, shard in sorted(shards.items()):
            span = OffsetSpan(number, shard.low, shard.end)
            for batch in _batches(self._sources.sync([span])):
                records = [Record(*record) for record in batch]
                found = sort_out(records, range(len(records)))
                marks = [each for each in found.marks if (each.conv_id, each.user) in people]
                mutes = [each for each in found.mutes if (each.conv_id, each.user) in people]
                refused = writer.mark(marks, mutes)
                written = len(marks) + len(mutes) - len(refused)
                done.note("marks and mutes", written, _reasons(refused, records))

    def _placements(
        self, number: int, deliveries: Sequence[Delivery]
    ) -> tuple[dict[bytes, list[SyncPlacement]], list[Record]]:
        """The records to add to each recipient's timeline, and the records of the shard."""
        users_at: defaultdict[Offset, set[bytes]] = defaultdict(set)
        for offset, user in deliveries:
            users_at[offset].add(user)
        span = OffsetSpan(number, min(users_at), Offset(max(users_at) + 1))
        records = [
            Record(*record) for record in self._sources.sync([span]) if record.offset in users_at
        ]
        by_user: defaultdict[bytes, list[SyncPlacement]] = defaultdict(list)
        for places in sort_out(records, range(len(records))).by_key.values():
            for place in places:
                for user in users_at[records[place.origin].offset]:
                    by_user[user].append(place)
        return by_user, records


def _place_of(record: KafkaRecord) -> EntryPlace | None:
    try:
        position = decode_position(record.value)
    except ImError:
        return None
    return EntryPlace(position.conv_id, position.seq)


def _reasons(refused: Iterable[PoisonRecord], records: Sequence[Record]) -> list[str]:
    def where(index: int) -> str:
        return f"offset {records[index].offset}: " if index < len(records) else ""

    return [f"{where(each.index)}{each.reason}" for each in refused]


def _batches(items: Iterable[_ItemT]) -> Iterator[list[_ItemT]]:
    left = iter(items)
    while batch := list(islice(left, WRITE_RECORDS)):
        yield batch
