"""Sync timelines in Cassandra: tables ``sync``, ``sync_bucket`` and ``sync_expiry``.

Also the read marks and mutes in sync timelines, which do not expire: table ``read_mark``.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, zip_longest
from typing import Final, TypeAlias

from cassandra.cluster import Session

from schemas.errors import PoisonRecord, TransientFailure
from schemas.lifetime import retention_times
from schemas.settings import Settings
from sinks.base.counts import NO_COUNTS, added
from sinks.base.records import Record
from sinks.base.writer_port import WriteOutcome
from sinks.cassandra.cassandra_writer import CassandraWriter
from sinks.cassandra.mark_rows import (
    Marked,
    Muted,
    marked_rows,
    muted_rows,
    prepare_marked,
    prepare_muted,
)
from sinks.cassandra.recent_texts import Recent
from sinks.cassandra.requests import (
    REFUSED_BY_SERVER,
    RequestT,
    execute,
    failures_by_kind,
    prepare_statement,
    requests_of,
    require_table,
    send_statements,
)
from sinks.cassandra.sync_parts import Part, Timeline, bigint, part_of, parts_of, timelines_of
from sinks.cassandra.sync_places import flushes_of, sort_out
from sinks.cassandra.sync_requests import DeliveryRequest, Inserts, PartDelivery, delivery_requests
from sinks.cassandra.sync_skips import (
    RecipientActivity,
    Sides,
    Skip,
    SkipRequest,
    counts_of,
    sides_of,
    skip_requests,
)

Pair: TypeAlias = tuple[bytes, int]
"""A recipient (UTF-8) and a bucket: one partition of the table ``sync``."""

_Waiting: TypeAlias = tuple[list[bytes], list[Part]]
"""Recipients, and the parts that are still to be written for each of them."""

LISTED_PAIRS: Final = 200_000
"""(recipient, bucket) pairs remembered as listed: some 50 MB."""

_REFRESHES_IN_A_LIFETIME: Final = 10

# The table's default TTL is from the settings at its creation.
_INSERT_ROW: Final = (
    "INSERT INTO sync (user_id, bucket, sync_seq, records) VALUES (?, ?, ?, ?) USING TTL {ttl}"
)

_pack_int: Final = struct.Struct(">i").pack


class SyncWriter(CassandraWriter):
    """Writes the references of one flush to one recipient and bucket as one row.

    A row has all records of its recipient between the row below and its own key, so that a reader
    in the order of the keys misses no record. Three rules ensure this:

    1. No row of a recipient is sent before all earlier rows of the recipient are durable.
    2. After a failure the whole batch is written again, not only the failed records, because a
       record may be one of several in the rows of its other recipients.
    3. A process starts at a committed offset, and all records below it are in rows.

    A partition is listed in ``sync_bucket`` in the request of its first row, and repeatedly after
    that, with a TTL that is longer than the TTL of any row written meanwhile. By rule 1, a reader
    of the list finds all partitions below one that has rows.

    The rows of a recipient are written with a note on their expiry, see `schemas.lifetime`. The
    note is durable when the rows count as durable, a whole lifetime before a reader needs it. A
    replay gives its rows a new lifetime, but the earlier notes remain. So after a replay, a reader
    at most treats stored records as expired.

    An inactive recipient gets a skip note in place of the rows of a flush, also by rule 1: a
    reader who finds a later row also finds the note, and knows that a row is missing.

    Args:
        session: A session in the keyspace of the deployment.
        settings: The settings of the deployment, with the lifetime of a record.
        monotonic: The clock for recent listings.
        now: The clock for lifetimes, in seconds since 1970. By default the clock of Cassandra, by
            which rows expire.
        contacts: Determine the inactive recipients; by default none are.

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
        *,
        contacts: RecipientActivity | None = None,
    ) -> None:
        self._contacts = contacts
        self._retention = retention_times(settings.sync_lifetime)
        self._now = now or self._store_time
        lifetime = int(settings.sync_lifetime.total_seconds())
        refresh = max(1, lifetime // _REFRESHES_IN_A_LIFETIME)
        self._listing_ttl = _pack_int(self._retention.ttl + 2 * refresh)
        self._listed: Recent[Pair] = Recent(LISTED_PAIRS, refresh, monotonic)
        super().__init__(session)
        self._insert_row = prepare_statement(session, _INSERT_ROW.format(ttl=self._retention.ttl))
        self._insert_pair = prepare_statement(
            session, "INSERT INTO sync_bucket (user_id, bucket) VALUES (?, ?) USING TTL ?"
        )
        self._insert_expiry = prepare_statement(
            session,
            "INSERT INTO sync_expiry (user_id, since, until, newest) "
            "VALUES (?, ?, ?, ?) USING TIMESTAMP ?",
        )
        self._insert_mark = prepare_marked(session)
        self._insert_mute = prepare_muted(session)

    def write(self, records: Sequence[Record]) -> WriteOutcome:
        """See `Writer.write`. Raises temporary failures, by rule 2 above."""
        poison: dict[int, PoisonRecord] = {}
        counts = NO_COUNTS
        for flush in flushes_of(records):
            by_key, marks, mutes, undecodable = sort_out(records, flush)
            refused = self.mark(marks, mutes)
            now, sides = self._sides(timelines_of(by_key))
            refused += self._deliver(now, sides)
            if self._contacts is not None:
                counts = added(counts, counts_of(sides, records))
            poison |= {each.index: each for each in (*undecodable, *refused)}
        return WriteOutcome([poison[origin] for origin in sorted(poison)], counts=counts)

    def deliver(self, timelines: Sequence[Timeline]) -> list[PoisonRecord]:
        """Writes timelines: the first part of every recipient, then the second of each, and so on.

        Returns:
            The records that Cassandra refuses.

        Raises:
            TransientFailure: Not all of them are durable.
            FatalFailure: Cassandra refuses this client, or a table is missing.
        """
        return self._deliver(*self._sides(timelines))

    def _sides(self, timelines: Sequence[Timeline]) -> tuple[float, Sides]:
        """The time, and the timelines to write now. Errors as of `deliver`."""
        if not timelines:
            return 0.0, Sides([], [])
        now = self._now()
        if self._contacts is None:
            return now, Sides(list(timelines), [])
        return now, sides_of(timelines, self._contacts, now)

    def _deliver(self, now: float, sides: Sides) -> list[PoisonRecord]:
        """Makes sides durable. Returns and raises as `deliver`."""
        timelines, skipped = sides
        if not timelines and not skipped:
            return []
        inserts = self._inserts(now)
        # No recipient is in two timelines, so those who are skipped wait for nobody.
        origins = self._skip(inserts, skipped)
        # Parts are made while requests are in flight.
        waiting: Iterable[_Waiting] = ((each.users, parts_of(each.places)) for each in timelines)
        while True:
            later: list[_Waiting] = []
            origins |= self._send(inserts, _round(waiting, later))
            if not later:
                return [PoisonRecord(origin, REFUSED_BY_SERVER) for origin in origins]
            waiting = later

    def mark(self, marks: Sequence[Marked], mutes: Sequence[Muted] = ()) -> list[PoisonRecord]:
        """Writes read marks and mutes; returns the refused ones.

        Raises:
            TransientFailure: A read mark or a mute was not written.
        """
        rows = chain(marked_rows(self._insert_mark, marks), muted_rows(self._insert_mute, mutes))
        outcome = execute(
            self.session, (request for part in rows for request in requests_of(part))
        )
        if outcome.to_retry:
            raise TransientFailure(outcome.retry_reason)
        return list(outcome.poison)

    def _store_time(self) -> float:
        with failures_by_kind():
            rows = self.session.execute("SELECT toUnixTimestamp(now()) FROM system.local")
            (store_ms,) = rows.one()
            return float(store_ms) / 1000

    def _inserts(self, now: float) -> Inserts:
        """The inserts for rows that are written from now on."""
        since = self._retention.since(now)
        until = since + self._retention.surely
        times = bigint(since), bigint(until), self._listing_ttl
        return Inserts(self._insert_row, self._insert_expiry, self._insert_pair, *times)

    def _skip(self, inserts: Inserts, skipped: Sequence[Skip]) -> set[int]:
        """Makes skip notes durable. Result and errors as for `_send`."""
        expiry = inserts.expiry
        refused = self._sent(skip_requests(expiry, skipped))
        if not refused:
            return set()
        require_table(self.session, expiry)
        singly = (SkipRequest(expiry, [skip]) for request in refused for skip in request.skips)
        refused = self._sent(singly)
        return {place.origin for request in refused for place in request.skips[0].places}

    def _send(self, inserts: Inserts, parts: Iterable[tuple[bytes, Part]]) -> set[int]:
        """Makes parts durable, at most one for each recipient.

        Returns:
            The origins of the refused records.

        Raises:
            TransientFailure: Not all parts are durable.
            FatalFailure: See `deliver`.
        """
        is_listed = self._listed.is_recent()
        new: list[Pair] = []

        def deliveries() -> Iterator[PartDelivery]:
            for user, part in parts:
                pair = user, part.bucket
                is_new = not is_listed(pair)
                if is_new:
                    new.append(pair)
                yield user, part, is_new

        refused = self._refused(delivery_requests(inserts, deliveries()))
        users = {user for user, _, _ in refused}
        self._listed.note(pair for pair in new if pair[0] not in users)
        return self._taken_apart(inserts, refused) if refused else set()

    def _taken_apart(self, inserts: Inserts, refused: list[PartDelivery]) -> set[int]:
        """Sends refused deliveries again: each delivery alone, then each record in its own row.

        The records of one recipient are sent in their order, each when the previous one is
        durable. Result and errors as for `_send`.
        """
        for insert in (inserts.row, inserts.expiry, inserts.listing):
            require_table(self.session, insert)
        refused = self._refused(DeliveryRequest(inserts, [each]) for each in refused)
        singles = [
            [(user, part_of(part.bucket, [place]), True) for place in part.places]
            for user, part, _ in refused
        ]
        origins: set[int] = set()
        for step in zip_longest(*singles):
            refused_singles = self._refused(
                DeliveryRequest(inserts, [each]) for each in step if each
            )
            origins |= {part.places[0].origin for _, part, _ in refused_singles}
        return origins

    def _refused(self, requests: Iterable[DeliveryRequest]) -> list[PartDelivery]:
        return [each for request in self._sent(requests) for each in request.deliveries]

    def _sent(self, requests: Iterable[RequestT]) -> list[RequestT]:
        """Sends requests; returns the refused ones.

        Raises:
            TransientFailure: Not all other requests are durable.
        """
        refused, to_retry = send_statements(self.session, requests)
        if to_retry:
            raise to_retry[0][1]
        return refused


def _round(waiting: Iterable[_Waiting], later: list[_Waiting]) -> Iterator[tuple[bytes, Part]]:
    """The first part of each recipient. Adds the remaining parts to ``later``."""
    for users, parts in waiting:
        if len(parts) > 1:
            later.append((users, parts[1:]))
        part = parts[0]
        for user in users:
            yield user, part
