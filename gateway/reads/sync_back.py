"""The caller's own sync timeline backwards: the newest records below a sync SeqId first.

Readers that need the end of the timeline first use these pages: a list of recent records, or a
device that begins near the end. The highest sync SeqId of the first page is the cursor for reading
forwards.

A page is read from several partitions at slightly different times, while records arrive. The
records of one recipient become readable in their order. So partitions are read one by one, from
the newest on, until one has a record. By then all earlier records are readable, and the remaining
partitions are read in parallel.

Backwards, the timeline ends above the last record that may have expired or that was skipped for an
inactive recipient.

The first page omits the newest references while their entries are not stored yet: they are above
the cursor of this page, so the reader receives them when it reads forwards. A later page ends
before a reference without a stored entry. If the page would begin with such a reference, the
request is refused until the entry is stored.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from gateway.log.barrier import NO_BARRIER, Barrier
from gateway.reads.expiry import BEGINNING
from gateway.reads.sync_merge import descending
from gateway.reads.sync_page import MAX_BUCKETS, Page, References, expired_up_to
from gateway.reads.sync_records import records_of
from gateway.store.store_port import SLICE, Store, StoredRow
from schemas.buckets import first_place, sync_bucket
from schemas.errors import ServerUnavailable
from schemas.http.answers import SyncPage
from schemas.number_types import BucketNumber, SyncSeqId

_NONE: Final = SyncSeqId(-1)
"""Below every sync SeqId."""

_MAX_AT_ONCE: Final = 8
"""Buckets read in parallel."""


async def read_sync_back(  # noqa: PLR0913 - tests pass another clock and another barrier
    store: Store,
    user: str,
    before: SyncSeqId,
    limit: int,
    now: Callable[[], float] = time.time,
    *,
    barrier: Barrier = NO_BARRIER,
) -> SyncPage:
    """The last ``limit`` records of ``user`` below ``before``, in descending order.

    ``next`` is the ``before`` of the next page. Without ``more`` no older record is stored.

    Raises:
        ServerUnavailable: The store does not answer, does not have the first entry yet, or lacks
            entries of skipped records.
    """
    read = await _references(store, user, before, limit)
    read.end_above(await expired_up_to(store, user, BEGINNING, now, barrier))
    page = Page(before)
    await page.fill(store, read.references)
    if page.is_behind and not page.records:
        page = await _without_newest(store, user, read)
    if page.is_behind or page.is_full:
        return page.answer(more=True)
    page.last = read.last
    return page.answer(more=read.more)


async def _without_newest(store: Store, user: str, read: References) -> Page:
    """A page that begins with the first reference whose entry is stored.

    Raises:
        ServerUnavailable: The reader may know records above the page, or none of the read entries
            is stored yet.
    """
    if not await _has_rows_from(store, user, read.first):
        for at in range(0, len(read.references), SLICE):
            part = await records_of(store, read.references[at : at + SLICE])
            for number, record in enumerate(part, start=at):
                if record is not None:
                    page = Page(read.first)
                    await page.fill(store, read.references[number:])
                    return page
        if not read.more:
            return Page(read.first)
    raise ServerUnavailable("an entry of the sync timeline is not stored yet")


async def _has_rows_from(store: Store, user: str, sync_seq: SyncSeqId) -> bool:
    bucket = sync_bucket(sync_seq)
    if await store.sync_rows(user, bucket, SyncSeqId(sync_seq - 1), 1):
        return True
    return bool(await store.sync_buckets(user, BucketNumber(bucket + 1), 1))


async def _references(store: Store, user: str, before: SyncSeqId, limit: int) -> References:
    last_place = SyncSeqId(before - 1)
    last_bucket = sync_bucket(last_place)
    listed = await store.sync_buckets_back(user, last_bucket, MAX_BUCKETS)
    read = References(before, limit)
    waiting = deque(listed)
    below, at_once = before, 1
    held: list[StoredRow] = []  # its references are taken when the row below it is known
    if listed and listed[0] == last_bucket:
        held = await store.sync_rows(user, last_bucket, last_place, 1)
    while waiting and read.room:
        group = [waiting[i] for i in range(min(at_once, len(waiting)))]
        count = min(SLICE, read.room + 1)
        reads = (store.sync_rows_back(user, bucket, below, count) for bucket in group)
        for rows in await asyncio.gather(*reads):
            whole = [*held, *rows]
            held = [whole.pop()] if len(rows) == count else []
            read.add(descending(whole, before, held[0].sync_seq if held else _NONE))
            if held or not read.room:
                below = rows[-1].sync_seq if rows else below
                break  # the rest of this bucket is before the next bucket
            waiting.popleft()
        if read.references:
            at_once = min(2 * at_once, _MAX_AT_ONCE)
    if not waiting and len(listed) == MAX_BUCKETS:
        read.last = first_place(listed[-1])  # all buckets have been read
    read.more = bool(waiting) or len(listed) == MAX_BUCKETS
    return read
