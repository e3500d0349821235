"""Follows one person's conversations: the loop around `following.Following`.

The loop repeats these steps:

1. Take the next batch of the sync timeline; wait for it if there is nothing else to do.
2. If no more records are available now, read the heads: all heads after a failure, because the
   follower cannot know what it missed; otherwise only while a conversation is in pull mode and
   nothing pushes its head.
3. Read gaps from the history.

Each step collects the items that come next, and the loop continues when they were taken. So the
loop holds the items of one batch or of a few pages. A cancelled wait loses nothing: what a step
has not applied is read again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

from im_timeline_client.answers import Item
from im_timeline_client.backoff import pauses
from im_timeline_client.errors import CursorAhead, GatewayUnavailable, Trimmed
from im_timeline_client.following import Batch, Following
from im_timeline_client.gateway import Gateway
from im_timeline_client.live_records import LiveMessage, LiveRecords
from im_timeline_client.live_source import LiveSource
from im_timeline_client.routes import SYNC_END

log = logging.getLogger(__name__)

RECORD_WAIT_SECONDS: Final = 20.0
"""Maximum wait for records when there is nothing else to do."""

HEADS_AGE_SECONDS: Final = 1.0
"""Maximum age of the heads of conversations in pull mode when nothing pushes the heads."""

REVIEW_SECONDS: Final = 60.0
"""Maximum age of the heads when they are pushed: a pushed head may get lost."""

FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_GAP_PAUSE_SECONDS: Final = 2.0
"""Bounds of the pause while the store does not have a gap yet."""

LONGEST_FAILURE_PAUSE_SECONDS: Final = 20.0
"""Longest pause after a failure of the gateway."""

GAPS: Final = 20
"""Gaps for each step, one for each conversation, so that a long gap does not delay the others."""

READY_ITEMS: Final = 500
"""No further gap is read while so many items wait to be taken."""


class Items(AsyncIterator[Item]):
    """The items of `Client.items`. The client makes it.

    Args:
        gateway: The gateway.
        user: The person.
        since: A checkpoint; None: from now on.
        patience: Seconds without an answer of the gateway after which the iteration raises
            `GatewayUnavailable`; None: it retries without end.
    """

    def __init__(
        self, gateway: Gateway, user: str, since: str | None, patience: float | None
    ) -> None:
        self._gateway = gateway
        self._user = user
        self._patience = patience
        self._following = None if since is None else Following.from_checkpoint(user, since)
        self._source: LiveSource[LiveMessage, Batch] | None = None
        self._ready: deque[Item] = deque()
        self._cursor = -1
        """The cursor before the items that are ready."""
        self._is_closed = False
        self._is_active = True
        self._has_missed = since is not None
        self._has_lost = False
        """Whether the cursor is beyond the end of the log."""
        self._must_read_heads = True
        self._are_heads_pushed = False
        self._heads_at = self._heard_at = time.monotonic()
        self._failures = pauses(FIRST_PAUSE_SECONDS, LONGEST_FAILURE_PAUSE_SECONDS)
        self._waits = pauses(FIRST_PAUSE_SECONDS, LONGEST_GAP_PAUSE_SECONDS)

    async def __anext__(self) -> Item:
        while not self._ready:
            if self._is_closed:
                raise StopAsyncIteration
            await self._try_step()
        return self._ready.popleft()

    def checkpoint(self) -> str:
        """Return where the iteration is, as a JSON text for the ``since`` of `Client.items`.

        An iteration that begins there shows all items that this one has not returned yet.

        Raises:
            ValueError: The iteration has not begun yet.
        """
        if self._following is None:
            raise ValueError("the iteration has not begun yet: wait for an item, or call `begin`")
        return self._following.checkpoint(self._cursor, self._ready)

    async def begin(self) -> None:
        """Begin now, so that the iteration shows everything that is sent after this call.

        Without this call, an iteration without a checkpoint begins when its first item is awaited.

        Raises:
            GatewayUnavailable: The gateway does not answer.
            RequestRefused: The gateway does not accept the token.
        """
        if self._following is None:
            end = await self._gateway.read(SYNC_END, SYNC_END.at())
            listed = [each async for each in self._gateway.conversations()]
            following = Following(self._user, end.next, {one.conv_id: one.head for one in listed})
            following.note_listed(listed, everything=False)
            self._following, self._cursor = following, end.next

    async def set_active(self, *, is_active: bool) -> None:
        """Say whether the person looks at this device.

        An iteration begins as active. A person without an active connection gets push
        notifications, so a program that follows for its user in the background says that it is
        not active.
        """
        self._is_active = is_active
        if self._source is not None:
            await self._source.set_active(is_active=is_active)

    async def aclose(self) -> None:
        """End the iteration, and close its connection. May be called again."""
        self._is_closed = True
        source, self._source = self._source, None
        if source is not None:
            await source.aclose()

    async def _try_step(self) -> None:
        """Do the steps once; a failure of the gateway becomes a pause."""
        try:
            await self.begin()
            assert self._following is not None  # noqa: S101 - `begin` sets it
            await self._step(self._following)
        except CursorAhead:
            log.warning("the log has lost records: the iteration goes back to its present end")
            self._has_lost = True
        except Trimmed as trimmed:
            log.warning("the sync timeline was trimmed; the heads of all conversations are read")
            assert self._following is not None  # noqa: S101 - only a step raises `Trimmed`
            self._following.skip_to(trimmed.oldest - 1)
            self._has_missed = True
        except GatewayUnavailable as failure:
            self._has_missed = self._following is not None
            await self._pause_after(failure)

    async def _go_back(self, following: Following) -> None:
        """Continue behind the last entries that still exist."""
        listed = [each async for each in self._gateway.conversations()]
        following.go_back({each.conv_id: each.head for each in listed})
        self._has_lost, self._has_missed = False, True

    async def _step(self, following: Following) -> None:
        if self._has_lost:
            await self._go_back(following)
        if self._source is None:
            self._source = LiveSource(LiveRecords(self._gateway), following.cursor)
            await self._source.set_active(is_active=self._is_active)
        self._cursor = following.cursor
        batch = await self._source.after(following.cursor, self._wait(following))
        self._ready += following.apply(batch)
        self._note_heads(batch, following)
        if not batch.more:
            await self._read_heads(following)
        for gap in following.gaps()[:GAPS]:
            if len(self._ready) < READY_ITEMS:
                self._ready += following.learn(await self._gateway.part(gap))
        self._heard_at = time.monotonic()
        self._failures = pauses(FIRST_PAUSE_SECONDS, LONGEST_FAILURE_PAUSE_SECONDS)
        await self._await_store(following, is_idle=not (batch.records or self._ready))

    def _wait(self, following: Following) -> float:
        """Return how long the next step may wait for records, in seconds; 0 if there is work."""
        if self._has_missed or following.gaps():
            return 0.0
        is_poll_needed = self._must_read_heads or not self._are_heads_pushed
        reads_heads = is_poll_needed and following.reads_history()
        return HEADS_AGE_SECONDS if reads_heads else RECORD_WAIT_SECONDS

    def _note_heads(self, batch: Batch, following: Following) -> None:
        self._are_heads_pushed = batch.heads is not None
        if batch.heads is None or not following.note_pushed_heads(batch.heads):
            self._must_read_heads = True

    async def _read_heads(self, following: Following) -> None:
        age = time.monotonic() - self._heads_at
        is_due = (self._must_read_heads or age >= REVIEW_SECONDS) and age >= HEADS_AGE_SECONDS
        if not self._has_missed and not (is_due and following.reads_history()):
            return
        listed = [each async for each in self._gateway.conversations()]
        following.note_listed(listed, everything=self._has_missed)
        self._has_missed = self._must_read_heads = False
        self._heads_at = time.monotonic()

    async def _await_store(self, following: Following, *, is_idle: bool) -> None:
        """Pause while the store does not have a gap yet."""
        if is_idle and following.gaps():
            await asyncio.sleep(next(self._waits))
        else:
            self._waits = pauses(FIRST_PAUSE_SECONDS, LONGEST_GAP_PAUSE_SECONDS)

    async def _pause_after(self, failure: GatewayUnavailable) -> None:
        """Wait before the next attempt.

        Raises:
            GatewayUnavailable: The failure, if the patience has ended.
        """
        if self._patience is not None and time.monotonic() - self._heard_at > self._patience:
            raise failure
        pause = max(next(self._failures), failure.retry_after)
        log.warning("the next attempt is in %.1f s: %s", pause, failure)
        await asyncio.sleep(pause)
