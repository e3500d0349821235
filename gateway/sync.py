"""A range of the caller's own sync timeline, from the store.

The sequencer has addressed these records to their recipient, so nothing is left to decide: the
timeline read is that of the token's subject, and no other can be named.

A cursor says "I have all up to here", so a page must not show a record before one that comes
earlier. The sink makes the records of one recipient readable in their order, but a page is read
from several partitions, one a little later than another. `_complete_buckets` sees to it that
this does not show.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from msgspec import Raw

from gateway.answers import SyncItem, SyncPage
from gateway.store import SLICE, Store, StoredRecord
from schemas.limits import SYNC_BUCKET

MAX_RECORDS: Final = 500
MAX_PAGE_BYTES: Final = 1_048_576
"""A page holds more than this only if its one record does."""

MAX_BUCKETS: Final = 256
"""Buckets that one page looks into. More are only needed where most are empty."""

_MAX_AT_ONCE: Final = 8
"""Buckets read at the same time. A quiet recipient has few records in each of many buckets."""


async def read_sync(store: Store, user: str, after: int, limit: int) -> SyncPage:
    """The first ``limit`` records of ``user`` above the cursor ``after``.

    Raises:
        ServerUnavailable: The store does not answer.
    """
    listed = await store.sync_buckets(user, (after + 1) // SYNC_BUCKET, MAX_BUCKETS)
    page = Page(after, limit)
    waiting = deque(await _complete_buckets(store, user, listed, after))
    at_once = 1
    while waiting and not page.full:
        group = [waiting[i] for i in range(min(at_once, len(waiting)))]
        for found in await _read(store, user, group, page.last):
            if not page.add(found) or len(found) == SLICE:
                break  # the rest of this bucket comes before the next
            waiting.popleft()
        at_once = min(2 * at_once, _MAX_AT_ONCE)
    if page.last == after and len(listed) == MAX_BUCKETS:
        # All have expired. Half of them are left behind: the last ones might have just begun.
        page.last = listed[MAX_BUCKETS // 2] * SYNC_BUCKET - 1
    return page.answer(more=bool(waiting) or len(listed) == MAX_BUCKETS)


async def _complete_buckets(store: Store, user: str, listed: list[int], after: int) -> list[int]:
    """Those buckets that can now be read in any order.

    Once a bucket has a record, all before it have all of theirs. Buckets at the end that have
    none yet are left to a later page.
    """
    buckets = list(listed)
    while len(buckets) > 1 and not await store.sync_records(user, buckets[-1], after, 1):
        buckets.pop()
    return buckets


async def _read(
    store: Store, user: str, buckets: list[int], after: int
) -> list[list[StoredRecord]]:
    reads = (store.sync_records(user, bucket, after, SLICE) for bucket in buckets)
    return await asyncio.gather(*reads)


class Page:
    """Records gathered in the order of reading; ``last`` is the place behind them."""

    def __init__(self, after: int, limit: int) -> None:
        self.last = after
        self.full = False
        self._limit = limit
        self._bytes = 0
        self._records: list[SyncItem] = []

    def add(self, found: list[StoredRecord]) -> bool:
        """Adds what fits.

        Returns:
            Whether the page can take more.
        """
        for record in found:
            self._bytes += len(record.json)
            if self._records and self._bytes > MAX_PAGE_BYTES:
                self.full = True
                return False
            self._records.append(SyncItem(record.sync_seq, Raw(record.json)))
            self.last = record.sync_seq
            if len(self._records) == self._limit:
                self.full = True
                return False
        return True

    def answer(self, *, more: bool) -> SyncPage:
        """The page as it is sent."""
        return SyncPage(records=self._records, next=self.last, more=more)
