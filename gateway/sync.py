"""A range of the caller's own sync timeline, from the store.

The sequencer has addressed these records to their recipient, so nothing is left to decide: the
timeline read is that of the token's subject, and no other can be named.

A cursor says "I have all up to here", so a page must not show a record before one that comes
earlier. The sink makes the records of one recipient readable in their order, but a page is read
from several partitions, one a little later than another. `_complete_buckets` sees to it that
this does not show.

Records expire. Whoever comes back after that is told so, and is not shown what happens to be left
behind the hole. It is looked up after the page was read: what has not expired then had not before.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from msgspec import Raw

from gateway.answers import SyncEnd, SyncItem, SyncPage
from gateway.expiry import BEGINNING, EXPIRIES, gone, worked_in
from gateway.problems import trimmed
from gateway.store import SLICE, Store, StoredRecord
from schemas.limits import SYNC_BUCKET

MAX_RECORDS: Final = 500
MAX_PAGE_BYTES: Final = 1_048_576
"""A page holds more than this only if its one record does."""

MAX_BUCKETS: Final = 256
"""Buckets that one page looks into. More are only needed where most are empty."""

_MAX_AT_ONCE: Final = 8
"""Buckets read at the same time. A quiet recipient has few records in each of many buckets."""


async def read_sync(
    store: Store, user: str, after: int, limit: int, now: Callable[[], float] = time.time
) -> SyncPage:
    """The first ``limit`` records of ``user`` above the cursor ``after``.

    A new device, which has no cursor, begins with what is surely kept.

    Raises:
        Problem: 410, if a record above the cursor may not be kept any more.
        ServerUnavailable: The store does not answer.
    """
    if after == BEGINNING:
        return await _read_page(store, user, await _gone(store, user, now), limit)
    page = await _read_page(store, user, after, limit)
    up_to = await _gone(store, user, now)
    if up_to > after:
        raise trimmed(after, up_to + 1)
    return page


async def sync_end(store: Store, user: str, now: Callable[[], float] = time.time) -> SyncEnd:
    """Where a device follows on that is about to read the store.

    Raises:
        ServerUnavailable: The store does not answer.
    """
    return SyncEnd(next=worked_in(await store.expiries(user, EXPIRIES), now()))


async def _gone(store: Store, user: str, now: Callable[[], float]) -> int:
    moment = now()
    return gone(await store.expiries(user, EXPIRIES), moment)


async def _read_page(store: Store, user: str, after: int, limit: int) -> SyncPage:
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
