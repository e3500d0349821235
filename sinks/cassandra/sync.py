"""Sync timelines in Cassandra: tables ``sync``, ``sync_bucket`` and ``sync_expiry``.

And the read marks in them, which do not expire: table ``read_mark``.
"""

from __future__ import annotations

import itertools
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Final, TypeAlias

from cassandra.cluster import Session
from cassandra.query import UNSET_VALUE, BoundStatement

from schemas.errors import PoisonRecord, TransientFailure
from schemas.lifetime import keeping
from schemas.recipients import recipients_of
from schemas.settings import Settings
from sinks.base.records import Record
from sinks.base.writer import Outcome
from sinks.cassandra.erasing import Erasing
from sinks.cassandra.erasure import Eraser, Recall
from sinks.cassandra.marks import Marked, marked_rows, prepare_marked
from sinks.cassandra.recent import Recent
from sinks.cassandra.requests import (
    REFUSED,
    Request,
    Row,
    execute,
    failures_by_kind,
    prepare,
    requests_of,
)
from sinks.cassandra.sync_places import Pair, Place, sort_out

LISTED_PAIRS: Final = 100_000
"""(recipient, bucket) pairs remembered as listed: some 20 MB."""

_REFRESHES_IN_A_LIFETIME: Final = 10
_ROW_OVERHEAD: Final = 64
"""Bytes of a row in a request beside its key and its record."""

# The table's own lifetime is the setting of the day when it was made.
_INSERT_ROW: Final = (
    "INSERT INTO sync (user_id, bucket, sync_seq, conv_id, seq, record) "
    "VALUES (?, ?, ?, ?, ?, ?) USING TTL {ttl} AND TIMESTAMP ?"
)

_bigint: Final = struct.Struct(">q").pack

_by_sync_seq: Final = attrgetter("sync_seq")

_Waiting: TypeAlias = dict[bytes, Iterator[Request]]
"""The requests of each recipient that are still to be sent, in the order of their sync SeqIds."""


class SyncWriter:
    """Writes each sync record into the partition of its recipient and bucket.

    A partition is listed in ``sync_bucket`` before its first row is written, and again now and
    then, with a lifetime that outlasts that of any row written meanwhile: who reads the list
    finds every partition that has rows.

    What follows the rows of a recipient in their request says up to where their timeline may be
    gone from when on, as `schemas.lifetime` explains. It is durable when the rows count as
    durable, a whole lifetime before anybody needs it. Rows that are written again are kept anew,
    and what was said of them before stays, so that a replay can only make a reader more careful.

    A record that tells of a recall has the recalled texts below it erased (`Eraser`), beside the
    batches that follow: `is_erasing` says when the batches so far may be committed.

    The rate of this writer decides how fast the whole pipeline can be, as there are many more
    sync records than anything else. Two things make it: rows of one partition share a request,
    and their values are put into the statement in Cassandra's own binary form, where the driver's
    conversion would cost as much as all the rest.

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
        self._listing_seconds = self._keeping.ttl + 2 * refresh
        self._listed: Recent[Pair] = Recent(LISTED_PAIRS, refresh, monotonic)
        self._session = session
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
        self._erasing = Erasing(Eraser(session, self._keeping.ttl).erase, monotonic)

    def write(self, records: Sequence[Record]) -> Outcome:
        """See `sinks.base.writer.Writer.write`."""
        self._erasing.make_room()
        pairs, marks, recalls, poison = sort_out(records)
        refused = self._mark(marks)
        for pair in self._list(pairs):
            poison += [PoisonRecord(place.origin, REFUSED) for place in pairs.pop(pair)]
        outcome = self._write_in_rounds(self._by_recipient(pairs), records)
        twice = {found.index for found in poison} | {found.index for found in outcome.poison}
        poison += [found for found in refused if found.index not in twice]
        outcome = outcome._replace(poison=[*poison, *outcome.poison])
        return self._erase(recalls, outcome)

    def is_erasing(self) -> bool:
        """Whether a recalled text of the batches so far is not erased yet. From any thread.

        Raises:
            FatalFailure: It cannot be erased.
        """
        return self._erasing.is_pending()

    def await_erased(self, seconds: float) -> bool:
        """Waits at most so many seconds until `is_erasing` is over. Errors as of that."""
        return self._erasing.wait(seconds)

    def close(self) -> None:
        """Drops the erasures that are pending: nothing of them is committed."""
        self._erasing.close()

    def _erase(self, recalls: Sequence[Recall], outcome: Outcome) -> Outcome:
        """Begins to erase; not before all rows are durable that may have a recalled text."""
        if not outcome.again:
            self._erasing.add(recalls)
            return outcome
        waiting = {recall.origin for recall in recalls} - {each.index for each in outcome.poison}
        return outcome._replace(again=sorted(waiting.union(outcome.again)))

    def _mark(self, marks: Sequence[Marked]) -> Sequence[PoisonRecord]:
        """Writes read marks; returns those that are refused.

        Raises:
            TransientFailure: One of them could not be written.
        """
        rows = marked_rows(self._insert_mark, marks)
        outcome = execute(
            self._session, (request for part in rows for request in requests_of(part))
        )
        if outcome.again:
            raise TransientFailure(outcome.why)
        return outcome.poison

    def _store_time(self) -> float:
        with failures_by_kind():
            rows = self._session.execute("SELECT toUnixTimestamp(now()) FROM system.local")
            return float(rows.one()[0]) / 1000

    def _by_recipient(self, pairs: dict[Pair, list[Place]]) -> _Waiting:
        waiting: _Waiting = {}
        since = self._keeping.since(self._now())  # before any of them is written
        for pair, places in pairs.items():
            requests = requests_of(self._rows(pair, places, since))
            waiting[pair[0]] = itertools.chain(waiting.get(pair[0], ()), requests)
        return waiting

    def _write_in_rounds(self, waiting: _Waiting, records: Sequence[Record]) -> Outcome:
        """The first request of every recipient, then the second of each, and so on.

        So no record can be read while one below it in the same sync timeline cannot: a cursor
        would pass that one for good. When a request has to be made again, those of its recipient
        that come after it are held back.
        """
        poison: list[PoisonRecord] = []
        again: list[int] = []
        why = ""
        while waiting:
            outcome = execute(self._session, _round(waiting))
            poison += outcome.poison
            again += outcome.again
            why = why or outcome.why
            again_of = {
                user
                for origin in outcome.again
                for user in recipients_of(records[origin].key or b"")
            }
            for user in again_of:
                held_back = waiting.pop(user, ())
                again += [row.origin for request in held_back for row in request.rows]
        return Outcome(poison, sorted(set(again)), why)  # an expiry has its last row's origin

    def _list(self, pairs: Iterable[Pair]) -> list[Pair]:
        """Lists the partitions that were not listed lately; returns those that are refused.

        Raises:
            TransientFailure: One of them could not be listed.
        """
        missing = self._listed.missing(pairs)
        outcome = execute(
            self._session, (self._listing(index, pair) for index, pair in enumerate(missing))
        )
        if outcome.again:
            raise TransientFailure(outcome.why)
        refused = [missing[found.index] for found in outcome.poison]
        self._listed.note(pair for pair in missing if pair not in refused)
        return refused

    def _listing(self, index: int, pair: Pair) -> Request:
        user, bucket = pair
        insert = self._insert_pair.bind((user.decode(), bucket, self._listing_seconds))
        return Request([Row(insert, index, len(user) + _ROW_OVERHEAD)])

    def _rows(self, pair: Pair, places: Sequence[Place], since: int) -> Iterator[Row]:
        user, bucket = pair
        packed_bucket = _bigint(bucket)
        for place in places:
            insert = BoundStatement(self._insert_row)
            insert.values = [
                user,
                packed_bucket,
                _bigint(place.sync_seq),
                place.conv_id.encode(),
                _bigint(place.seq) if place.seq else UNSET_VALUE,
                place.value,
                _bigint(place.written_at),
            ]
            yield Row(insert, place.origin, len(place.value) + _ROW_OVERHEAD)
        yield self._expiry(user, max(places, key=_by_sync_seq), since)

    def _expiry(self, user: bytes, newest: Place, since: int) -> Row:
        """Says from when on the records of now may be gone; the highest of a slot wins."""
        insert = BoundStatement(self._insert_expiry)
        number = _bigint(newest.sync_seq)
        until = since + self._keeping.surely
        insert.values = [user, _bigint(since), _bigint(until), number, number]
        return Row(insert, newest.origin, len(user) + _ROW_OVERHEAD)


def _round(waiting: _Waiting) -> Iterator[Request]:
    """Takes the next request of each recipient, and drops those who have none."""
    for user in list(waiting):
        request = next(waiting[user], None)
        if request is None:
            del waiting[user]
        else:
            yield request
