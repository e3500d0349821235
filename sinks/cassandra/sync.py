"""Sync timelines in Cassandra: tables ``sync``, ``sync_bucket`` and ``sync_expiry``.

And the read marks in them, which do not expire: table ``read_mark``.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import zip_longest
from typing import Final

from cassandra.cluster import Session

from schemas.errors import PoisonRecord, TransientFailure
from schemas.lifetime import keeping
from schemas.settings import Settings
from sinks.base.records import Record
from sinks.base.writer import Outcome
from sinks.cassandra.marks import Marked, marked_rows, prepare_marked
from sinks.cassandra.recent import Recent
from sinks.cassandra.requests import (
    REFUSED,
    execute,
    failures_by_kind,
    prepare,
    requests_of,
    require_table,
    send,
)
from sinks.cassandra.sync_parts import Timeline, bigint, part_of, timelines_of
from sinks.cassandra.sync_places import flushes_of, sort_out
from sinks.cassandra.sync_requests import (
    Delivery,
    DeliveryInserts,
    DeliveryRequest,
    Listing,
    ListingRequest,
    together,
)

LISTED_PAIRS: Final = 200_000
"""(recipient, bucket) pairs remembered as listed: some 50 MB."""

_REFRESHES_IN_A_LIFETIME: Final = 10

# The table's own lifetime is the setting of the day when it was made.
_INSERT_ROW: Final = (
    "INSERT INTO sync (user_id, bucket, sync_seq, records) VALUES (?, ?, ?, ?) USING TTL {ttl}"
)

_pack_int: Final = struct.Struct(">i").pack


class SyncWriter:
    """Writes the references of one flush to one recipient and bucket as one row.

    A row has all records of its recipient between the row below and its own key, so that a reader
    who reads rows in the order of their keys misses nothing. Three rules make that so:

    1. Of one recipient, nothing is sent before all that is earlier is durable.
    2. After a failure the whole batch is written again, and not those records alone that failed:
       a record may be one of several in the rows of its other recipients.
    3. A process starts at a committed place, to which every row below belongs.

    A partition is listed in ``sync_bucket`` before its first row is written, and again now and
    then, with a lifetime that outlasts the lifetime of any row written meanwhile: a reader of the
    list finds every partition that has rows.

    With the rows of a recipient goes a note up to where their timeline may be gone from when on,
    as `schemas.lifetime` explains. The note is durable when the rows count as durable, a whole
    lifetime before a reader needs it. A replay gives its rows a new lifetime, and the notes of
    before stay, so a replay can only make a reader more careful.

    Args:
        session: In the keyspace of the deployment.
        settings: Say how long a record lives.
        monotonic: The clock of what was listed lately.
        now: The clock of lifetimes, in seconds since 1970; Cassandra's own unless given, because
            rows expire by that.

    Raises:
        TransientFailure: Cassandra does not answer.
        FatalFailure: A table is missing or has another shape.
    """

    def __init__(
        self,
        session: Session,
        settings: Settings,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._keeping = keeping(settings.sync_lifetime)
        self._now = now or self._store_time
        lifetime = int(settings.sync_lifetime.total_seconds())
        refresh = max(1, lifetime // _REFRESHES_IN_A_LIFETIME)
        self._listing_ttl = _pack_int(self._keeping.ttl + 2 * refresh)
        self._listed: Recent[Listing] = Recent(LISTED_PAIRS, refresh, monotonic)
        self.session = session
        self._insert_row = prepare(session, _INSERT_ROW.format(ttl=self._keeping.ttl))
        self._insert_pair = prepare(
            session, "INSERT INTO sync_bucket (user_id, bucket) VALUES (?, ?) USING TTL ?"
        )
        self._insert_expiry = prepare(
            session,
            "INSERT INTO sync_expiry (user_id, since, until, newest) "
            "VALUES (?, ?, ?, ?) USING TIMESTAMP ?",
        )
        self._insert_mark = prepare_marked(session)

    def write(self, records: Sequence[Record]) -> Outcome:
        """See `sinks.base.writer.Writer.write`. What fails for now is raised: rule 2 above."""
        poison: dict[int, PoisonRecord] = {}
        for flush in flushes_of(records):
            by_key, marks, undecodable = sort_out(records, flush)
            refused = self.mark(marks)
            refused += self.deliver(timelines_of(by_key))
            poison |= {found.index: found for found in (*undecodable, *refused)}
        return Outcome([poison[origin] for origin in sorted(poison)])

    def deliver(self, timelines: Sequence[Timeline]) -> list[PoisonRecord]:
        """Lists the partitions of timelines and writes their rows.

        Returns:
            The records that Cassandra refuses.

        Raises:
            TransientFailure: Not all rows are durable.
            FatalFailure: Cassandra refuses this client, or a table is missing.
        """
        if not timelines:
            return []
        refused = self._list(timelines)
        origins = _origins_to(refused, timelines) if refused else set()
        inserts = self._inserts()
        for deliveries in _rounds(timelines, refused):
            origins |= self._send(inserts, deliveries)
        return [PoisonRecord(origin, REFUSED) for origin in origins]

    def mark(self, marks: Sequence[Marked]) -> list[PoisonRecord]:
        """Writes read marks; returns those that are refused.

        Raises:
            TransientFailure: One of them could not be written.
        """
        rows = marked_rows(self._insert_mark, marks)
        outcome = execute(
            self.session, (request for part in rows for request in requests_of(part))
        )
        if outcome.again:
            raise TransientFailure(outcome.why)
        return list(outcome.poison)

    def _store_time(self) -> float:
        with failures_by_kind():
            rows = self.session.execute("SELECT toUnixTimestamp(now()) FROM system.local")
            return float(rows.one()[0]) / 1000

    def _inserts(self) -> DeliveryInserts:
        """The inserts of rows that are written from now on."""
        since = self._keeping.since(self._now())
        until = since + self._keeping.surely
        return DeliveryInserts(self._insert_row, self._insert_expiry, bigint(since), bigint(until))

    def _send(self, inserts: DeliveryInserts, deliveries: Iterable[Delivery]) -> set[int]:
        """Makes deliveries durable, one of each recipient.

        What Cassandra refuses is taken apart: first each delivery alone, then each record of a
        refused delivery in a row of its own, in their order.

        Returns:
            The origins of the records that are refused.

        Raises:
            TransientFailure: Not all of them are durable.
            FatalFailure: See `deliver`.
        """
        refused = self._refused(inserts, together(deliveries))
        if not refused:
            return set()
        require_table(self.session, inserts.row)
        require_table(self.session, inserts.expiry)
        refused = self._refused(inserts, ([each] for each in refused))
        singles = [
            [Delivery(user, part_of(part.bucket, [place])) for place in part.places]
            for user, part in refused
        ]
        origins: set[int] = set()
        for step in zip_longest(*singles):
            found = self._refused(inserts, ([each] for each in step if each is not None))
            origins |= {each.part.places[0].origin for each in found}
        return origins

    def _refused(
        self, inserts: DeliveryInserts, requests: Iterable[list[Delivery]]
    ) -> list[Delivery]:
        refused, again = send(
            self.session, (DeliveryRequest(inserts, items) for items in requests)
        )
        if again:
            raise again[0][1]
        return [each for request in refused for each in request.items]

    def _list(self, timelines: Iterable[Timeline]) -> set[bytes]:
        """Lists the partitions that were not listed lately.

        Returns:
            The recipients whose partitions cannot be listed: they get no rows.

        Raises:
            TransientFailure: One of them could not be listed.
        """
        missing = self._listed.missing(
            Listing(user, bucket)
            for timeline in timelines
            for bucket in {part.bucket for part in timeline.parts}
            for user in timeline.users
        )
        refused = self._unlisted(together(missing))
        if refused:
            require_table(self.session, self._insert_pair)
            refused = self._unlisted([each] for each in refused)
        unlisted = {each.user for each in refused}
        self._listed.note(each for each in missing if each.user not in unlisted)
        return unlisted

    def _unlisted(self, requests: Iterable[list[Listing]]) -> list[Listing]:
        refused, again = send(
            self.session,
            (ListingRequest(self._insert_pair, self._listing_ttl, items) for items in requests),
        )
        if again:
            raise again[0][1]
        return [each for request in refused for each in request.items]


def _origins_to(users: AbstractSet[bytes], timelines: Iterable[Timeline]) -> set[int]:
    """The origins of all records to these recipients."""
    return {
        place.origin
        for timeline in timelines
        if not users.isdisjoint(timeline.users)
        for part in timeline.parts
        for place in part.places
    }


def _rounds(
    timelines: Sequence[Timeline], but: AbstractSet[bytes]
) -> Iterator[Iterator[Delivery]]:
    """The first part of every recipient but these, then the second of each, and so on."""
    for number in range(max(len(timeline.parts) for timeline in timelines)):
        yield (
            Delivery(user, timeline.parts[number])
            for timeline in timelines
            if number < len(timeline.parts)
            for user in timeline.users
            if user not in but
        )
