"""Reads sync timelines as their owners do: from the log, and from the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from consumers.cursor import CursorStore
from consumers.follower import SyncFollower, SyncItem
from gateway.reads.sync_page import read_sync
from schemas.codec import decode_sync_record
from schemas.number_types import SyncSeqId
from schemas.records import AnyEntry
from schemas.settings import Settings
from tests.support.gateway_rows import cassandra_store

PATIENCE: Final = 180.0
"""Maximum seconds until the next record, also on a busy machine."""

Done = Callable[[Sequence[SyncItem]], bool]


def follow(
    settings: Settings, user: str, cursors: CursorStore, is_done: Done, restart_after: int = 0
) -> list[SyncItem]:
    """The records that one device receives from its cursor on, until ``is_done``.

    Args:
        settings: The deployment.
        user: The owner of the device.
        cursors: The cursor store of the device.
        is_done: Whether these records are all expected ones.
        restart_after: The follower is reopened after this number of records; 0: never.
    """
    got: list[SyncItem] = []
    deadline = time.monotonic() + PATIENCE
    while not is_done(got):
        with SyncFollower(settings, user, cursors) as follower:
            count = 0
            while not is_done(got) and (count < restart_after or not restart_after):
                assert time.monotonic() < deadline, f"{user} has {len(got)} records only"
                item = follower.poll(0.5)
                if item is not None:
                    got.append(item)
                    follower.commit(item)
                    deadline = time.monotonic() + PATIENCE
                    count += 1
    return got


def so_many(count: int) -> Done:
    """A condition for `follow`: at least this number of records."""
    return lambda got: len(got) >= count


def entries(items: Sequence[SyncItem]) -> list[AnyEntry]:
    """The entries among records."""
    return [item.record for item in items if isinstance(item.record, AnyEntry)]


def stored(settings: Settings, user: str, after: int = -1, limit: int = 100) -> list[SyncItem]:
    """All records that a gateway returns from a cursor on, page by page."""

    async def read() -> list[SyncItem]:
        found: list[SyncItem] = []
        cursor = after
        async with cassandra_store(settings) as store:
            while True:
                page, _ = await read_sync(store, user, SyncSeqId(cursor), limit)
                found += [
                    SyncItem(item.sync_seq, decode_sync_record(bytes(item.record)))
                    for item in page.records
                ]
                cursor = page.next
                if not page.more and not page.records:
                    return found

    return asyncio.run(read())
