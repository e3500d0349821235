"""The caller's own sync timeline backwards: the newest records below a sync SeqId first.

For whoever wants the last of it at once: a list of what came lately, or a device that begins near
the end. To go on forwards from there, the highest sync SeqId of the first page is the cursor.

A page is read from several partitions, one a little later than another, while records arrive. Of
one recipient they become readable in their order. So partitions are read one by one, from the
newest on, until one has shown a record: all that comes before it is there by then, and the others
may be read at the same time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from gateway.answers import SyncPage
from gateway.store import SLICE, Store
from gateway.sync import MAX_BUCKETS, Page
from schemas.limits import SYNC_BUCKET

_MAX_AT_ONCE: Final = 8
"""Buckets read at the same time."""


async def read_sync_back(store: Store, user: str, before: int, limit: int) -> SyncPage:
    """The last ``limit`` records of ``user`` below ``before``, in descending order.

    ``next`` is the ``before`` of the next page. Without ``more`` nothing older is kept.

    Raises:
        ServerUnavailable: The store does not answer.
    """
    listed = await store.sync_buckets_back(user, (before - 1) // SYNC_BUCKET, MAX_BUCKETS)
    page = Page(before, limit)
    waiting = deque(listed)
    at_once = 1
    while waiting and not page.full:
        group = [waiting[i] for i in range(min(at_once, len(waiting)))]
        reads = (store.sync_records_back(user, bucket, page.last, SLICE) for bucket in group)
        for found in await asyncio.gather(*reads):
            if not page.add(found) or len(found) == SLICE:
                break  # the rest of this bucket comes before the next
            waiting.popleft()
        if page.last < before:
            at_once = min(2 * at_once, _MAX_AT_ONCE)
    if not waiting and len(listed) == MAX_BUCKETS:
        page.last = listed[-1] * SYNC_BUCKET  # all of them have been looked through
    return page.answer(more=bool(waiting) or len(listed) == MAX_BUCKETS)
