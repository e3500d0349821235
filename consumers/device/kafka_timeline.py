"""The sync timeline from Kafka, for services: a `SyncFollower` as a `SyncSource`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, TypeAlias

from consumers.cursor import CursorStore
from consumers.device.knowledge import Arrived, SyncBatch
from consumers.follower import SyncFollower, SyncItem
from schemas.codec import encode
from schemas.errors import UndecodableRecord
from schemas.number_types import SyncSeqId
from schemas.settings import Settings

MOST: Final = 500
"""Maximum number of records in a batch."""

SHORTEST_WAIT_SECONDS: Final = 0.2
"""Minimum wait for the first record of a batch."""

LONGEST_WAIT_SECONDS: Final = 1.0
"""Maximum wait: a waiting thread cannot be cancelled."""

MakeFollower: TypeAlias = Callable[[], SyncFollower]
"""Opens a follower that starts after the device's cursor."""


class FollowerTimeline:
    """`SyncSource` of one person, from Kafka.

    A follower keeps its own position. If a batch was not applied, a new follower is opened, which
    starts after the device's cursor again.

    Args:
        settings: The deployment.
        user: The owner of the timeline.
        cursors: The store of the device's cursor: its `LocalStore`.
        device_id: The device.
    """

    def __init__(
        self, settings: Settings, user: str, cursors: CursorStore, device_id: str
    ) -> None:
        self._make: MakeFollower = lambda: SyncFollower(
            settings, user, cursors, device_id=device_id, start="beginning"
        )
        self._follower: SyncFollower | None = None
        self._last: SyncItem | None = None

    async def after(self, cursor: SyncSeqId, wait: float = 0.0) -> SyncBatch:
        """See `SyncSource`. Waits for `LONGEST_WAIT_SECONDS` at most."""
        first = max(SHORTEST_WAIT_SECONDS, min(wait, LONGEST_WAIT_SECONDS))
        try:
            return await asyncio.to_thread(self._read, cursor, first)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection. May be called again."""
        follower, self._follower, self._last = self._follower, None, None
        if follower is not None:
            follower.close()

    def _read(self, cursor: SyncSeqId, wait: float) -> SyncBatch:
        if self._last is not None and cursor < self._last.sync_seq:
            self.close()
        if self._follower is None:
            self._follower = self._make()
        elif self._last is not None:
            self._follower.commit(self._last)
        arrived: list[Arrived] = []
        self._last = None
        while len(arrived) < MOST:
            item = self._next(self._follower, 0 if arrived else wait)
            if item is None:
                break
            self._last = item
            arrived.append(Arrived(item.sync_seq, encode(item.record), item.record))
        end = arrived[-1].sync_seq if arrived else cursor
        return SyncBatch(cursor, arrived, end, len(arrived) == MOST)

    def _next(self, follower: SyncFollower, wait: float) -> SyncItem | None:
        while True:
            # A follower raises once for a record of an unknown kind and then skips it. If the
            # record is an entry, it leaves a gap, and the device reads it from the store.
            with contextlib.suppress(UndecodableRecord):
                return follower.poll(wait)
