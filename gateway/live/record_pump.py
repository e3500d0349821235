"""The records of one live connection: the person's sync timeline after the cursor, in pages.

A page comes from the store, or from the log if the log has brought the messages directly after the
cursor (`gateway.log.record_feed`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol, TypeAlias

from msgspec import Raw, Struct

from gateway.bounds import REQUEST_SECONDS, within
from gateway.live.pace import Pace
from gateway.log.barrier import Barrier
from gateway.log.wake_ups import Listener
from gateway.reads.sync_page import read_sync
from gateway.store.store_port import Store
from schemas.http.answers import SyncPageItem
from schemas.http.live_messages import LiveRecords
from schemas.number_types import SyncSeqId

SendAnswer: TypeAlias = Callable[[Struct], Awaitable[None]]
"""Sends an answer over a live connection; may block for some time."""


class SentRecords(Protocol):
    """Notes that records were sent: their number, and those that the log has brought."""

    def __call__(self, count: int, logged: Sequence[bytes] = ()) -> None:
        """See the class."""


class RecordPump:
    """Reads pages of records when they are due, and sends them.

    Args:
        store: The store that is read.
        listener: A listener of the person that is already registered.
        after: The cursor of the device.
        limit: Maximum number of records in a page.
        send: Sends a page.
        barrier: Waits for the message sink.
        note_read: Called with the records of each page of the store, before the page is sent.
        sent: Called after records were sent.

    Attributes:
        cursor: The sync SeqId up to which all records were sent.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - its parts
        self,
        store: Store,
        listener: Listener,
        after: SyncSeqId,
        limit: int,
        send: SendAnswer,
        barrier: Barrier,
        note_read: Callable[[Iterable[SyncPageItem]], None],
        sent: SentRecords,
    ) -> None:
        self._store = store
        self._listener = listener
        self.cursor = after
        self._limit = limit
        self._send = send
        self._barrier = barrier
        self._note_read = note_read
        self._sent = sent
        self._now = asyncio.get_running_loop().time
        self._pace = Pace()
        self._poll_at = 0.0

    @property
    def is_poll_due(self) -> bool:
        """Whether it is time to read without a wake-up."""
        return self._now() >= self._poll_at

    @property
    def is_behind(self) -> bool:
        """Whether the log has announced a record that was not sent yet."""
        return self._listener.known > self.cursor

    async def send_page(self) -> bool:
        """Finds the next page, and sends it if the page moves the cursor.

        The page itself is released before the send, so a slow client holds its text only.

        Returns:
            Whether a page was sent.

        Raises:
            Trimmed: Records after the cursor may have expired.
            ServerUnavailable: The store does not answer.
        """
        feed = self._listener.feed
        logged = [] if feed is None else feed.after(self.cursor, self._limit)
        if logged:
            await self._send_logged(logged)
            return True
        reading = read_sync(
            self._store, self._listener.user, self.cursor, self._limit, barrier=self._barrier
        )
        page, awaited = await within(REQUEST_SECONDS, reading)
        self._listener.announce(awaited)
        if page.next == self.cursor:
            self._poll_at = self._now() + self._pace.until_read(is_live=self._listener.is_live)
            return False
        self._note_read(page.records)
        cursor, more, count = page.next, page.more, len(page.records)
        sending = self._send(LiveRecords(records=page.records, next=cursor, more=more))
        del page
        await sending
        self._sent(count)
        self.cursor = cursor
        self._pace = Pace()
        until_read = self._pace.until_read(is_live=self._listener.is_live)
        self._poll_at = 0.0 if more else self._now() + until_read
        return True

    async def _send_logged(self, logged: Sequence[tuple[SyncSeqId, bytes]]) -> None:
        records = [SyncPageItem(sync_seq, Raw(message)) for sync_seq, message in logged]
        last, _ = logged[-1]
        await self._send(LiveRecords(records=records, next=last, more=False))
        self._sent(len(logged), [message for _, message in logged])
        self.cursor = last
        # The log works: the next read without a wake-up is not due yet.
        self._poll_at = self._now() + self._pace.until_read(is_live=self._listener.is_live)

    def next_poll_at(self) -> float:
        """The time of the next read without a wake-up, in seconds of the event loop's clock."""
        if not self._listener.is_live:
            without_log = self._now() + self._pace.until_read(is_live=False)
            self._poll_at = min(self._poll_at, without_log)
        return self._poll_at

    def until_retry(self) -> float:
        """Seconds until the next read of an announced record that the store does not have yet."""
        return self._pace.until_retry()
