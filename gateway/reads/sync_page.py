"""A range of the caller's own sync timeline, from the store.

The sequencer has addressed these records to the recipient, so no further access check is needed:
only the timeline of the token's subject is read, and a request cannot name another one.

A page is made in two steps: 1. read the references (`_references`), 2. read their records
(`gateway.reads.sync_records`).

A cursor means "this reader has all records up to here", so a page must not skip a record. The sink
makes the records of one recipient readable in their order, but a page is read from several
partitions at slightly different times. `_complete_buckets` orders these reads. For the same reason
a page ends before a reference whose entry is not stored yet.

Records expire. A reader whose cursor is before an expired record gets `Trimmed`, and no page with
a hole. The gateway checks the expiry after step 1: a record that has not expired at the check had
not expired during step 1 either. Entries do not expire. Skipped records of an inactive recipient
count as expired. The sink makes a skip note durable before it writes a later record of the
recipient, so the check after step 1 also finds the skip note.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from msgspec import Raw

from gateway.log.barrier import NO_BARRIER, Barrier
from gateway.reads.expiry import BEGINNING, EXPIRIES, gone, worked_in
from gateway.reads.sync_merge import ascending
from gateway.reads.sync_records import records_of
from gateway.store.store_port import SLICE, Store, StoredRow
from schemas.buckets import first_place, sync_bucket
from schemas.errors import Trimmed
from schemas.http.answers import SyncEnd, SyncPage, SyncPageItem
from schemas.number_types import BucketNumber, SyncSeqId
from schemas.sync_rows import SyncReference

MAX_PAGE_BYTES: Final = 1_048_576
"""Maximum size of a page. A page is larger only if it has one record that is larger."""

MAX_BUCKETS: Final = 256
"""Maximum number of buckets that are read for one page. More are needed only if most are empty."""

_MAX_AT_ONCE: Final = 8
"""Buckets read in parallel. A recipient with few records has them in many buckets."""


class SyncRead(NamedTuple):
    """A page, and the position for which the reader waits.

    ``awaited`` is the sync SeqId of the reference before which the page ends because the entry is
    not stored yet; `BEGINNING` if there is none.
    """

    page: SyncPage
    awaited: SyncSeqId = BEGINNING


async def read_sync(  # noqa: PLR0913 - tests pass another clock and another barrier
    store: Store,
    user: str,
    after: SyncSeqId,
    limit: int,
    now: Callable[[], float] = time.time,
    *,
    barrier: Barrier = NO_BARRIER,
) -> SyncRead:
    """The first ``limit`` records of ``user`` above the cursor ``after``.

    A new device, which has no cursor, begins after the records that may have expired.

    Raises:
        Trimmed: A record above the cursor may have expired.
        ServerUnavailable: The store does not answer, or does not yet have the entries of expired
            records, which the device must read instead.
    """
    if after == BEGINNING:
        up_to = await expired_up_to(store, user, BEGINNING, now, barrier)
        references = await _references(store, user, up_to, limit)
        # Records between the found ones may have been skipped meanwhile.
        references.begin_behind(await expired_up_to(store, user, up_to, now, barrier))
        return await _read_records(store, references)
    references = await _references(store, user, after, limit)
    up_to = await expired_up_to(store, user, after, now, barrier)
    if up_to > after:
        raise Trimmed(after, SyncSeqId(up_to + 1))
    return await _read_records(store, references)


async def sync_end(
    store: Store, user: str, now: Callable[[], float] = time.time, barrier: Barrier = NO_BARRIER
) -> SyncEnd:
    """The cursor for a device that reads the store now and then follows the sync timeline.

    The next page after this cursor is never `trimmed`, unless more records are skipped meanwhile.

    Raises:
        ServerUnavailable: The store does not answer, or lacks entries up to the cursor.
    """
    moment = now()
    noted = await store.expiries(user, EXPIRIES)
    end = max(worked_in(noted, moment), gone(noted, moment))
    if end > BEGINNING:
        await barrier.passed(user, end)
    return SyncEnd(next=end)


async def expired_up_to(
    store: Store, user: str, after: SyncSeqId, now: Callable[[], float], barrier: Barrier
) -> SyncSeqId:
    """The highest sync SeqId that may have expired.

    If it is above ``after``, the store has the entries of all records up to it.

    Raises:
        ServerUnavailable: The store does not answer, or does not have these entries yet.
    """
    moment = now()
    up_to = gone(await store.expiries(user, EXPIRIES), moment)
    if up_to > after:
        await barrier.passed(user, up_to)
    return up_to


class References:
    """References in the order of reading, at most ``limit``; ``last`` is the position after them.

    Attributes:
        more: Whether more references may follow after ``last``.
    """

    def __init__(self, after: SyncSeqId, limit: int) -> None:
        self.first = self.last = after
        self.more = False
        self.references: list[SyncReference] = []
        self._limit = limit

    @property
    def room(self) -> int:
        """The number of references that fit."""
        return self._limit - len(self.references)

    def add(self, references: Iterable[SyncReference]) -> None:
        """Adds the references that fit."""
        self.references += itertools.islice(references, self.room)
        if self.references:
            self.last = self.references[-1].sync_seq

    def begin_behind(self, place: SyncSeqId) -> None:
        """Removes references that are not above a position. For ascending references."""
        self.references = [each for each in self.references if each.sync_seq > place]
        self.first, self.last = max(self.first, place), max(self.last, place)

    def end_above(self, place: SyncSeqId) -> None:
        """Removes references that are not above a position. For descending references."""
        if self.last <= place + 1:
            self.references = [each for each in self.references if each.sync_seq > place]
            self.last = min(self.first, SyncSeqId(place + 1))
            self.more = False


async def _references(store: Store, user: str, after: SyncSeqId, limit: int) -> References:
    """Step 1."""
    listed = await store.sync_buckets(user, sync_bucket(SyncSeqId(after + 1)), MAX_BUCKETS)
    read = References(after, limit)
    waiting = deque(await _complete_buckets(store, user, listed, after))
    at_once = 1
    while waiting and read.room:
        group = [waiting[i] for i in range(min(at_once, len(waiting)))]
        count = min(SLICE, read.room)
        for rows in await _read(store, user, group, read.last, count):
            read.add(ascending(rows, read.last))
            if not read.room or len(rows) == count:
                break  # the rest of this bucket is before the next bucket
            waiting.popleft()
        at_once = min(2 * at_once, _MAX_AT_ONCE)
    if read.last == after and len(listed) == MAX_BUCKETS:
        # All are empty, so expired. Only half are skipped: the last ones may have just begun.
        read.last = SyncSeqId(first_place(listed[MAX_BUCKETS // 2]) - 1)
    read.more = bool(waiting) or len(listed) == MAX_BUCKETS
    return read


async def _complete_buckets(
    store: Store, user: str, listed: list[BucketNumber], after: SyncSeqId
) -> list[BucketNumber]:
    """The buckets that can now be read in any order.

    When a bucket has a row, all earlier buckets have all their rows. Buckets at the end without
    rows are left to a later page.
    """
    buckets = list(listed)
    while len(buckets) > 1 and not await store.sync_rows(user, buckets[-1], after, 1):
        buckets.pop()
    return buckets


async def _read(
    store: Store, user: str, buckets: list[BucketNumber], after: SyncSeqId, count: int
) -> list[list[StoredRow]]:
    reads = (store.sync_rows(user, bucket, after, count) for bucket in buckets)
    return await asyncio.gather(*reads)


async def _read_records(store: Store, read: References) -> SyncRead:
    """Step 2."""
    page = Page(read.first)
    await page.fill(store, read.references)
    if page.is_behind:
        awaited = read.references[len(page.records)].sync_seq
        return SyncRead(page.answer(more=False), awaited)
    if page.is_full:
        return SyncRead(page.answer(more=True))
    page.last = read.last
    return SyncRead(page.answer(more=read.more))


class Page:
    """Records in the order of reading; ``last`` is the position after them.

    Attributes:
        is_full: The next record does not fit.
        is_behind: The entry of the next record is not stored yet.
    """

    def __init__(self, last: SyncSeqId) -> None:
        self.last = last
        self.is_full = self.is_behind = False
        self.records: list[SyncPageItem] = []
        self._bytes = 0

    async def fill(self, store: Store, references: Sequence[SyncReference]) -> None:
        """Adds the records of references, up to one that does not fit or is not stored yet.

        Raises:
            ServerUnavailable: The store does not answer.
        """
        for at in range(0, len(references), SLICE):
            part = references[at : at + SLICE]
            for reference, record in zip(part, await records_of(store, part), strict=True):
                if record is None:
                    self.is_behind = True
                    return
                if not self._add(reference.sync_seq, record):
                    return

    def _add(self, sync_seq: SyncSeqId, record: Raw) -> bool:
        self._bytes += len(record)
        self.is_full = bool(self.records) and self._bytes > MAX_PAGE_BYTES
        if not self.is_full:
            self.records.append(SyncPageItem(sync_seq, record))
            self.last = sync_seq
        return not self.is_full

    def answer(self, *, more: bool) -> SyncPage:
        """The response."""
        return SyncPage(records=self.records, next=self.last, more=more)
