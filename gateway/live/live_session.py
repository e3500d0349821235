"""One live connection: the caller's sync timeline in pages, and heads of pulled conversations.

A live connection reads the store like any other request, when `gateway.log.wake_ups` wakes it.
Steps:

1. Begin to listen.
2. Read the list of the person's conversations, and watch their heads.
3. Send `LiveBegun`. A client that reads heads from the store after this message misses no later
   head.
4. Repeat: send the records after the cursor, then the changed heads; wait for a wake-up.
"""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.live.head_pump import HeadPump
from gateway.live.record_pump import RecordPump, SendAnswer, SentRecords
from gateway.log.barrier import NO_BARRIER, Barrier
from gateway.log.wake_ups import Listener
from gateway.store.store_port import Store
from schemas.errors import ServerUnavailable
from schemas.http.live_messages import LiveBegun
from schemas.number_types import SyncSeqId

_STORE_RETRY_SECONDS: Final = 1.0


class LiveSession:
    """Sends records and heads over one connection.

    Args:
        store: The store that is read.
        listener: A listener of the person that is already registered.
        after: The cursor of the device.
        limit: Maximum number of records in a page.
        send: Sends an answer. An error of it ends the session.
        barrier: Waits for the message sink.
        sent: Called after records were sent, for metrics.
    """

    def __init__(  # noqa: PLR0913 - its parts
        self,
        store: Store,
        listener: Listener,
        after: SyncSeqId,
        limit: int,
        send: SendAnswer,
        *,
        barrier: Barrier = NO_BARRIER,
        sent: SentRecords = lambda _count, _logged=(): None,
    ) -> None:
        self._listener = listener
        self._send = send
        self._heads = HeadPump(store, listener, send)
        note_read = self._heads.watch_opened
        self._records = RecordPump(store, listener, after, limit, send, barrier, note_read, sent)
        self._now = asyncio.get_running_loop().time

    async def run(self) -> None:
        """Runs until the gateway is about to end. Waits for an unreachable store.

        Raises:
            Trimmed: Records after the cursor may have expired.
        """
        has_begun = False
        while not self._listener.is_over:
            try:
                await self._heads.review()  # step 2, and its repetitions
                if not has_begun:
                    await self._send(LiveBegun(next=self._records.cursor))  # step 3
                    has_begun = True
                if not await self._send_due():
                    await self._wait()
            except ServerUnavailable:
                await self._listener.pause(_STORE_RETRY_SECONDS)

    async def _send_due(self) -> bool:
        """Step 4. Returns whether there may be more to send at once."""
        is_poll_due = self._records.is_poll_due
        self._heads.schedule_lost_heads(is_poll_due=is_poll_due)
        if (is_poll_due or self._records.is_behind) and await self._records.send_page():
            return True
        if self._heads.is_due:
            await self._heads.send_heads()
        return False

    async def _wait(self) -> None:
        if self._records.is_behind:
            await self._listener.pause(self._records.until_retry())
            return
        wake_at = min(self._records.next_poll_at(), self._heads.next_read_at())
        await self._listener.wait(max(0.0, wake_at - self._now()))
