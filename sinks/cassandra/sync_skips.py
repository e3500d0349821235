"""Skip notes, which inactive recipients get in place of rows: see `schemas.lifetime`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple, Protocol

from cassandra.query import PreparedStatement, Statement

from schemas.lifetime import SKIPPED_SINCE, SKIPPED_UNTIL
from sinks.base.counts import CountsOf, DeliveryCounts
from sinks.base.records import Record
from sinks.cassandra.requests import grouped
from sinks.cassandra.sync_parts import Timeline, bigint
from sinks.cassandra.sync_places import SyncPlacement
from sinks.cassandra.sync_requests import MAX_REQUEST_BYTES, MAX_STATEMENTS, PackedBatch

_SINCE: Final = bigint(SKIPPED_SINCE)
_UNTIL: Final = bigint(SKIPPED_UNTIL)

_NOTE_BYTES: Final = 100
"""Size of a note without the recipient's id."""


class RecipientActivity(Protocol):
    """Determines the inactive recipients."""

    def inactive(self, users: Sequence[bytes], now: float) -> AbstractSet[bytes]:
        """The people among ``users`` without contact for a lifetime.

        Args:
            users: The people to check.
            now: Seconds since 1970.

        Raises:
            TransientFailure: The contacts are not known now.
            FatalFailure: This process will not know the contacts.
        """
        ...


class Skip(NamedTuple):
    """A recipient who gets a note, and the recipient's skipped records."""

    user: bytes
    places: list[SyncPlacement]


class Sides(NamedTuple):
    """The timelines that are written, and the recipients who are skipped."""

    written: list[Timeline]
    skipped: list[Skip]


def sides_of(timelines: Sequence[Timeline], contacts: RecipientActivity, now: float) -> Sides:
    """Removes the inactive recipients from timelines.

    Args:
        timelines: The timelines. No recipient is in two of them.
        contacts: Determine the inactive recipients.
        now: Seconds since 1970.

    Raises:
        TransientFailure, FatalFailure: See `RecipientActivity.inactive`.
    """
    users = [user for timeline in timelines for user in timeline.users]
    inactive = contacts.inactive(users, now)
    if not inactive:
        return Sides(list(timelines), [])
    written, skipped = [], []
    for timeline in timelines:
        active = [user for user in timeline.users if user not in inactive]
        if active:
            written.append(Timeline(active, timeline.places))
        skipped += [Skip(user, timeline.places) for user in timeline.users if user in inactive]
    return Sides(written, skipped)


def counts_of(sides: Sides, records: Sequence[Record]) -> CountsOf:
    """The written and the skipped deliveries of each partition; refused records are included.

    The records of one recipient are in one partition. Only around a change of the number of shards
    they are in two; then all of them are counted in the first.

    Args:
        sides: The deliveries.
        records: The batch in which their places have their origins.
    """
    written: Counter[int] = Counter()
    skipped: Counter[int] = Counter()
    for timeline in sides.written:
        first = records[timeline.places[0].origin]
        written[first.partition] += len(timeline.users) * len(timeline.places)
    for _, places in sides.skipped:
        skipped[records[places[0].origin].partition] += len(places)
    return {
        number: DeliveryCounts(written=written[number], skipped=skipped[number])
        for number in {*written, *skipped}
    }


class SkipRequest(NamedTuple):
    """Notes of different recipients."""

    insert: PreparedStatement
    skips: list[Skip]

    def statement(self) -> Statement:
        """The batch: one note for each recipient, with the highest sync SeqId as timestamp."""
        rows = [_values(skip) for skip in self.skips]
        batch = PackedBatch(self.insert, rows[0])
        for row in rows:
            batch.pack((True, self.insert.query_id, row))
        return batch


def _values(skip: Skip) -> list[bytes]:
    newest = bigint(max(place.sync_seq for place in skip.places))
    return [skip.user, _SINCE, _UNTIL, newest, newest]


def skip_requests(insert: PreparedStatement, skips: Sequence[Skip]) -> Iterator[SkipRequest]:
    """Cuts skips into requests within the bounds, unless a single note is larger."""
    for chosen in grouped(
        skips, lambda skip: (1, len(skip.user) + _NOTE_BYTES), (MAX_STATEMENTS, MAX_REQUEST_BYTES)
    ):
        yield SkipRequest(insert, chosen)
