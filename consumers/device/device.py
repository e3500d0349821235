"""A device: follows its sync timeline, fills gaps, and shows items in order.

A device registers first (if it has a registry) and learns its start positions. Then it repeats:

1. Take the next records of the sync timeline; wait for them if there is nothing else to do. Pass
   each record to the observer.
2. Put the records and the cursor into the local store in one transaction. Show all items that
   have no gap before them (as in step 5).
3. If no more records are available now, query the heads. At the start and after a failure, use
   all heads, because the device cannot know what it missed. Otherwise query the heads only while
   a conversation is pulled and nothing pushes its head, or while a read mark of another device
   has no message count here.
4. Read gaps from the store.
5. Show all items that have no gap before them, in order, and note each as shown.

If the log has lost the records up to the cursor, because an operator restored a backup, the device
registers again, forgets its items, and shows everything again from the same starts.

The process may die between any two steps. Step 1 comes before the cursor moves, and step 5 notes
an item after it was shown. So after a crash, records may be observed again, and the one item in
progress may be shown again. Nothing else happens twice, and nothing is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from consumers.device.knowledge import RECALLED_TEXT, TimelineItem
from consumers.device.local_store import LocalStore
from consumers.device.timeline_port import History, Registry, SyncSource
from schemas.errors import CursorAhead, RetryableError, ServerUnavailable, Trimmed
from schemas.number_types import SeqId, SyncSeqId
from schemas.records import AnySyncRecord, RecalledHole

log = logging.getLogger(__name__)

GAP_PAUSE_SECONDS: Final = 0.5
"""Pause between two steps when the first one brought nothing and there is still a gap."""

RECORD_WAIT_SECONDS: Final = 20.0
"""Maximum wait for records when there is nothing else to do."""

HEADS_AGE_SECONDS: Final = 1.0
"""Maximum age of the heads of pulled conversations when nothing pushes the heads."""

REVIEW_SECONDS: Final = 60.0
"""Maximum age of the heads when they are pushed: a pushed head may get lost."""

AFTER_FAILURE_SECONDS: Final = 2.0
"""Pause between two steps after a server failure; the ports have already retried by then."""

GAPS: Final = 20
"""Gaps per step, one for each conversation, so that a long gap does not delay the others."""

SHOWN: Final = 500
"""Maximum number of items taken from the local store at once, to be shown."""


REPORT_SECONDS: Final = 30.0
"""Minimum interval between two reports of the cursor."""


def _nobody(_record: AnySyncRecord) -> None:
    """The observer of a device that sends nothing."""


class Device:
    """Keeps one `LocalStore` equal to the store, and shows its items.

    Args:
        store: The local store of the device.
        source: The sync timeline of the owner.
        history: The store, as the owner may see it.
        show: Called with each entry and each typed hole, in SeqId order within a conversation.
        observe: Called with each record of the sync timeline, sometimes twice with the same one.
            `producers.publisher` learns from it the outcome of its commands.
        restart: Called before the device shows everything again, because the log has lost records:
            the application discards what it was shown.
        registry: Registers the device and receives its cursor. A device without a registry shows
            everything, and no server knows the device.
    """

    def __init__(  # noqa: PLR0913 - its parts, and two callbacks
        self,
        store: LocalStore,
        source: SyncSource,
        history: History,
        show: Callable[[TimelineItem], object],
        observe: Callable[[AnySyncRecord], object] = _nobody,
        *,
        restart: Callable[[], object] = lambda: None,
        registry: Registry | None = None,
    ) -> None:
        self._registry = registry
        self._reported: int | None = None
        self._report_at = time.monotonic()
        self._store = store
        self._source = source
        self._history = history
        self._show = show
        self._observe = observe
        self._restart = restart
        self._missed_something = True
        self._heads_at = time.monotonic()
        self._are_heads_pushed = False
        self._must_read_heads = True
        self._patience = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Step until stopped. Retries without limit while a server does not answer.

        Raises:
            ConfigurationError: The local store is damaged.
            RequestRefused: The gateway does not accept this user.
            Exception: Any error of ``show``, ``observe`` or ``restart``.
        """
        while not stop.is_set():
            pause = 0.0
            try:
                pause = await self._step_unless(stop)
            except Trimmed as trimmed:
                log.warning("the sync timeline was trimmed: %s", trimmed)
                self._store.skip_to(SyncSeqId(trimmed.oldest - 1))
                self._missed_something = True
            except RetryableError as failure:
                log.warning("next attempt in %.0f s: %s", AFTER_FAILURE_SECONDS, failure)
                self._missed_something = True
                pause = AFTER_FAILURE_SECONDS
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)

    async def _step_unless(self, stop: asyncio.Event) -> float:
        """Take a step, cancelled at once on stop; return the pause after it, in seconds."""
        stepping = asyncio.ensure_future(self.step())
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({stepping, stopping}, return_when=asyncio.FIRST_COMPLETED)
            has_more = stepping.done() and stepping.result()
        finally:
            self._patience = 0.0
            for task in (stepping, stopping):
                task.cancel()
            await asyncio.gather(stepping, stopping, return_exceptions=True)
        if has_more:
            return 0.0
        self._patience = self._time_to_wait()
        return 0.0 if self._patience else GAP_PAUSE_SECONDS

    def _time_to_wait(self) -> float:
        """Return how long the next step may wait for records, in seconds; 0 if there is work."""
        if self._missed_something or self._store.gaps(1):
            return 0.0
        is_poll_needed = self._must_read_heads or not self._are_heads_pushed
        reads_heads = (is_poll_needed and self._store.reads_store()) or self._store.lacks_count()
        return HEADS_AGE_SECONDS if reads_heads else RECORD_WAIT_SECONDS

    async def step(self) -> bool:
        """Receive records, read heads and gaps, and show items, once.

        Returns:
            Whether anything arrived or was read, so that there may be more.

        Raises:
            Trimmed: The records after the cursor have expired.
            ServerUnavailable: A server does not answer now.
            TransientFailure: The disk does not accept the write now.
            RequestRefused: The gateway does not accept this user.
        """
        try:
            return await self._take_steps()
        except CursorAhead as ahead:
            log.warning("everything is read again: %s", ahead)
            await self._begin_again()
            return True

    async def _take_steps(self) -> bool:
        await self._register()
        has_arrived, more = await self._follow()  # steps 1 and 2
        if not more:
            await self._read_heads()  # step 3
        read = await self._fill_gaps()  # step 4
        self._show_complete_part()  # step 5
        await self._report()
        return has_arrived or read

    async def _register(self) -> None:
        if self._registry is not None and not self._store.has_begun():
            self._store.begin(await self._registry.register(self._store.device_id))

    async def _begin_again(self) -> None:
        """Register again, because the gateway may have lost the device, and forget all items."""
        registry, beginning = self._registry, None
        if registry is not None:
            beginning = await registry.register(self._store.device_id)
        self._restart()
        self._store.begin_again(beginning)
        self._missed_something, self._reported = True, None

    async def _report(self) -> None:
        """Report the cursor at most once in `REPORT_SECONDS`, which is also the retry interval."""
        cursor = self._store.cursor
        if self._registry is None or cursor == self._reported or not self._is_time_to_report():
            return
        self._report_at = time.monotonic() + REPORT_SECONDS
        with contextlib.suppress(ServerUnavailable):
            await self._registry.report(self._store.device_id, cursor)
            self._reported = cursor

    def _is_time_to_report(self) -> bool:
        return time.monotonic() >= self._report_at

    async def _follow(self) -> tuple[bool, bool]:
        batch = await self._source.after(self._store.cursor, self._patience)
        for arrived in batch.arrived:
            self._missed_something |= isinstance(arrived.record, RecalledHole)  # as in step 4
            if arrived.record is not None:
                self._observe(arrived.record)
        self._store.apply(batch)
        self._take_heads(batch.heads)
        self._show_complete_part()
        return bool(batch.arrived or batch.heads), batch.more

    def _take_heads(self, heads: Mapping[str, SeqId] | None) -> None:
        self._are_heads_pushed = heads is not None
        if heads is None or not self._store.note_pushed_heads(heads):
            self._must_read_heads = True

    async def _read_heads(self) -> None:
        if not self._missed_something and not self._is_time_for_heads():
            return
        listed = await self._history.conversations()
        self._store.note_heads(listed, everything=self._missed_something)
        self._missed_something = self._must_read_heads = False
        self._heads_at = time.monotonic()

    def _is_time_for_heads(self) -> bool:
        store, age = self._store, time.monotonic() - self._heads_at
        is_read_due = self._must_read_heads or age >= REVIEW_SECONDS
        return age >= HEADS_AGE_SECONDS and (
            (is_read_due and store.reads_store()) or store.lacks_count()
        )

    async def _fill_gaps(self) -> bool:
        learned = False
        for gap in self._store.gaps(GAPS):
            part = await self._history.part(gap.conv_id, gap.span)
            learned = self._store.learn(part) or learned
            # The recalled entry may have set the owner's read mark: only the list has the mark.
            self._missed_something |= any(item.hole == RECALLED_TEXT for item in part.items)
        return learned

    def _show_complete_part(self) -> None:
        while items := self._store.unshown(SHOWN):
            for item in items:
                self._show(item)
                self._store.mark_shown(item)
