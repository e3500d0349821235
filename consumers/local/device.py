"""A device: follows its sync timeline, fills in what is missing, and shows in order.

One turn, after it has registered, if it is to, and knows where it begins:

1. take the next records of the sync timeline, waiting for them if there is nothing else to do;
   tell their replies to whoever sends;
2. put them into the local store, with the cursor, in one transaction; show what is whole (as 5);
3. if there are no more for now: ask how far conversations go. All of them at the start and after
   something failed, because nobody can say what was missed; otherwise only while one is pulled and
   nobody tells its head, or a read mark of another device cannot be counted from here;
4. read gaps from the store;
5. show what has no gap before it, in order, and remember that it was shown.

The process may end between any two steps. Step 1 comes before the cursor moves, and in step 5
each item is remembered after it was shown: a reply may be told again, and the one item that was
just being shown may be shown again. Nothing else happens twice, and nothing is left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from consumers.local.knowledge import RECALLED, TimelineItem
from consumers.local.ports import History, Registry, SyncSource
from consumers.local.store import LocalStore
from schemas.errors import ServerUnavailable, TransientFailure, Trimmed
from schemas.records import AnySyncRecord, RecalledHole

log = logging.getLogger(__name__)

IDLE_SECONDS: Final = 0.5
"""Between two turns, when the first brought nothing and something is missing still."""

PATIENCE_SECONDS: Final = 20.0
"""How long to wait for records when there is nothing else to do."""

HEADS_SECONDS: Final = 1.0
"""How old the heads of pulled conversations may be, where nobody tells them."""

REVIEW_SECONDS: Final = 60.0
"""How old they may be where they are told: one might not be."""

AFTER_FAILURE_SECONDS: Final = 2.0
"""Between two turns when a server did not answer; the ports have tried for a while by then."""

GAPS: Final = 20
"""Gaps read in one turn, of as many conversations, so that a long one does not hold up others."""

SHOWN: Final = 500
"""Items taken from the local store at once, to be shown."""


REPORT_SECONDS: Final = 30.0
"""Between two times that a device tells its cursor."""


def _nobody(_record: AnySyncRecord) -> None:
    """Who listens to replies where nothing is sent."""


class Device:
    """Keeps one `LocalStore` the same as the store, and shows what it has.

    Args:
        store: The device's own.
        source: Its owner's sync timeline.
        history: The store, as its owner may see it.
        show: Called with each entry and each typed hole, those of one conversation in the order
            of their SeqIds.
        observe: Called with each record of the sync timeline: `producers.publisher` learns from
            it what became of its commands. May be called again with the same one.
        registry: Where it registers and tells its cursor. Without one it shows everything, and
            nobody knows of it.
    """

    def __init__(  # noqa: PLR0913 - its parts, and two who are told
        self,
        store: LocalStore,
        source: SyncSource,
        history: History,
        show: Callable[[TimelineItem], object],
        observe: Callable[[AnySyncRecord], object] = _nobody,
        *,
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
        self._missed_something = True
        self._heads_at = time.monotonic()
        self._are_heads_told = False
        self._are_heads_due = True
        self._patience = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Turns until stopped; servers that do not answer are asked again, however long it takes.

        Raises:
            ConfigurationError: The cursor, or the local store, is not one of this deployment.
            RequestRefused: The gateway does not let this user in.
            Exception: What ``show`` or ``observe`` raises.
        """
        while not stop.is_set():
            pause = 0.0
            try:
                pause = await self._turn_unless(stop)
            except Trimmed as trimmed:
                log.warning("the sync timeline was trimmed: %s", trimmed)
                self._store.skip_to(trimmed.oldest - 1)
                self._missed_something = True
            except (ServerUnavailable, TransientFailure) as failure:
                log.warning("following goes on in %.0f s: %s", AFTER_FAILURE_SECONDS, failure)
                self._missed_something = True
                pause = AFTER_FAILURE_SECONDS
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)

    async def _turn_unless(self, stop: asyncio.Event) -> float:
        """A turn that is given up as soon as it is to stop; the pause that comes after it."""
        turning = asyncio.ensure_future(self.turn())
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({turning, stopping}, return_when=asyncio.FIRST_COMPLETED)
            brought = turning.done() and turning.result()
        finally:
            self._patience = 0.0
            for task in (turning, stopping):
                task.cancel()
            await asyncio.gather(turning, stopping, return_exceptions=True)
        if brought:
            return 0.0
        self._patience = self._time_to_wait()
        return 0.0 if self._patience else IDLE_SECONDS

    def _time_to_wait(self) -> float:
        """How long nothing has to be done but to wait for records."""
        if self._missed_something or self._store.gaps(1):
            return 0.0
        is_untold = self._are_heads_due or not self._are_heads_told
        asks = (is_untold and self._store.reads_store()) or self._store.lacks_count()
        return HEADS_SECONDS if asks else PATIENCE_SECONDS

    async def turn(self) -> bool:
        """Does the steps once.

        Returns:
            Whether anything came or was read: then there may be more.

        Raises:
            Trimmed: What follows the cursor is not kept any more.
            ServerUnavailable: A server does not answer for now.
            TransientFailure: The disk does not take it for now.
            RequestRefused: The gateway does not let this user in.
        """
        await self._register()
        came, more = await self._follow()  # steps 1 and 2
        if not more:
            await self._ask_for_heads()  # step 3
        read = await self._fill_gaps()  # step 4
        self._show_what_is_whole()  # step 5
        await self._report()
        return came or read

    async def _register(self) -> None:
        if self._registry is not None and not self._store.has_begun():
            self._store.begin(await self._registry.register(self._store.device_id))

    async def _report(self) -> None:
        """Tells the cursor now and then; a server that is away is told the next time."""
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
        self._show_what_is_whole()
        return bool(batch.arrived or batch.heads), batch.more

    def _take_heads(self, heads: Mapping[str, int] | None) -> None:
        self._are_heads_told = heads is not None
        if heads is None or not self._store.note_told(heads):
            self._are_heads_due = True

    async def _ask_for_heads(self) -> None:
        if not self._missed_something and not self._is_time_for_heads():
            return
        listed = await self._history.conversations()
        self._store.note_heads(listed, everything=self._missed_something)
        self._missed_something = self._are_heads_due = False
        self._heads_at = time.monotonic()

    def _is_time_for_heads(self) -> bool:
        store, age = self._store, time.monotonic() - self._heads_at
        is_due = self._are_heads_due or age >= REVIEW_SECONDS
        return age >= HEADS_SECONDS and ((is_due and store.reads_store()) or store.lacks_count())

    async def _fill_gaps(self) -> bool:
        learned = False
        for gap in self._store.gaps(GAPS):
            part = await self._history.part(gap.conv_id, gap.span)
            learned = self._store.learn(part) or learned
            # Perhaps its owner's own, which would be their read mark: the list tells.
            self._missed_something |= any(item.hole == RECALLED for item in part.items)
        return learned

    def _show_what_is_whole(self) -> None:
        while items := self._store.unshown(SHOWN):
            for item in items:
                self._show(item)
                self._store.mark_shown(item)
