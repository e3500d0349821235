"""Wake-ups: the log announces new records to waiting readers.

A wake-up has the position that the log has reached, but no data for a response: all data is read
from the store. A wake-up may arrive too early (before the sinks have stored the record), twice, or
not at all. A woken reader reads the store until the store has reached the announced position, and
polls at a low rate in addition.

A reader begins to listen *before* it reads the store. Recent positions are remembered, because the
sinks may lag behind the log: a new listener receives them as if they were announced now.

At the end of the gateway, the waits end one after the other in random order, so that the clients
do not connect to other gateways at the same time.

All waiting readers run in one event loop; nothing here may be called from another thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from gateway.errors import NoListenerPlace, TooManyListeners
from gateway.log.recent_places import RecentPlaces
from gateway.log.record_feed import LoggedRecord, RecordFeed
from schemas.number_types import SeqId, SyncSeqId

MAX_LISTENERS: Final = 4_096
"""Maximum number of listeners of one gateway."""

MAX_LISTENERS_OF_ONE: Final = 16
"""Maximum of one person: one for each device, and briefly one more when a device reconnects."""

MAX_WATCHED: Final = 10_000
"""Maximum number of watched conversations of a listener. Others do not wake it."""

ENDS_PER_SECOND: Final = 100
"""Rate at which waits end at the end of the gateway. A live connection costs the next gateway some
4 ms of processor time at its begin."""

MAX_DRAIN_SECONDS: Final = 20.0
"""Maximum duration of ending all waits. More waits end at a higher rate."""


class Wake(NamedTuple):
    """The positions that the log has reached.

    ``records``: the highest sync SeqId by recipient. ``heads``: the highest SeqId by conversation.
    ``logged``: the records for live connections, in the order of the log. ``is_interrupted``:
    records may be missing before them.
    """

    records: Mapping[str, SyncSeqId]
    heads: Mapping[str, SeqId]
    logged: Sequence[LoggedRecord] = ()
    is_interrupted: bool = False


class Listener:
    """One waiting reader.

    Attributes:
        known: The highest sync SeqId that the log or the store has announced, -1 at first.
        heads: By watched conversation, the announced SeqId that the reader has not processed yet.
            The reader removes it.
        is_over: Whether the gateway is about to end, so that the reader may not wait.
        feed: Messages that the log has brought; None if the reader reads the store alone.
    """

    def __init__(
        self, wake_ups: WakeUps, user: str, known: SyncSeqId, feed: RecordFeed | None
    ) -> None:
        self.user = user
        self.feed = feed
        self.known = known
        self.heads: dict[str, SeqId] = {}
        self.watched: set[str] = set()
        self.is_over = wake_ups.is_closed
        self._wake_ups = wake_ups
        self._is_woken = False
        self._waiting: asyncio.Future[None] | None = None
        self._is_pausing = False

    @property
    def is_live(self) -> bool:
        """Whether the log is being followed; otherwise there are no wake-ups."""
        return self._wake_ups.is_live

    def announce(self, sync_seq: SyncSeqId) -> None:
        """Notes a record that the log has, or a reference whose entry the store does not have."""
        self.known = max(self.known, sync_seq)

    def watch(self, conv_ids: Iterable[str]) -> None:
        """Begins to wake this listener at new entries of these conversations."""
        self._wake_ups.watch(self, conv_ids)

    def unwatch(self, conv_id: str) -> None:
        """Stops to wake this listener at new entries of a conversation."""
        self._wake_ups.unwatch(self, conv_id)

    def wake(self) -> None:
        """Ends the current wait, or else the next one."""
        self._is_woken = True
        if not self._is_pausing:
            self._resume()

    def end(self) -> None:
        """Ends the current wait or pause. The reader may not wait again."""
        self.is_over = True
        self._resume()

    async def wait(self, seconds: float) -> None:
        """Waits for a wake-up, with a timeout. A wake-up since the last wait counts."""
        if not self._is_woken:
            await self._sleep(seconds)
        self._is_woken = False

    async def pause(self, seconds: float) -> None:
        """Waits regardless of wake-ups; the end of the gateway ends the pause."""
        self._is_pausing = True
        try:
            await self._sleep(seconds)
        finally:
            self._is_pausing = False

    async def _sleep(self, seconds: float) -> None:
        """Waits for `_resume`, with a timeout; not at all when the gateway is about to end."""
        if self.is_over:
            return
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._waiting
        finally:
            self._waiting = None

    def _resume(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class WakeUps:
    """All waiting readers of one gateway.

    Args:
        clock: Monotonic time in seconds.

    Attributes:
        is_live: Whether the log is being followed.
        is_closed: Whether the gateway is about to end, so that no new listener may wait.
        followed: The people whose listeners have a feed. Other threads may look up a person.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.is_live = False
        self.is_closed = False
        self._of_user: defaultdict[str, set[Listener]] = defaultdict(set)
        self._of_conversation: defaultdict[str, set[Listener]] = defaultdict(set)
        self._count: Counter[str] = Counter()
        self._records = RecentPlaces[SyncSeqId](clock)
        self._heads = RecentPlaces[SeqId](clock)
        self.followed: Counter[str] = Counter()

    @property
    def listeners(self) -> int:
        """The number of listeners."""
        return self._count.total()

    @contextlib.contextmanager
    def listening(self, user: str, *, has_feed: bool = False) -> Iterator[Listener]:
        """Registers a listener for the records of one person.

        Args:
            user: The person.
            has_feed: Whether the listener gets the messages themselves, see `Listener.feed`.

        Raises:
            TooManyListeners: The person has the maximum number of listeners.
            NoListenerPlace: All people together have the maximum number of listeners.
        """
        if self._count[user] >= MAX_LISTENERS_OF_ONE:
            raise TooManyListeners
        if self.listeners >= MAX_LISTENERS:
            raise NoListenerPlace
        recent = self._records.place(user)
        feed = RecordFeed() if has_feed else None
        listener = Listener(self, user, SyncSeqId(-1) if recent is None else recent, feed)
        self._count[user] += 1
        if has_feed:
            self.followed[user] += 1
        self._of_user[user].add(listener)
        try:
            yield listener
        finally:
            self._leave(listener)

    def _leave(self, listener: Listener) -> None:
        for conv_id in list(listener.watched):
            self.unwatch(listener, conv_id)
        user = listener.user
        self._of_user[user].discard(listener)
        self._count[user] -= 1
        if listener.feed is not None:
            self.followed[user] -= 1
            if not self.followed[user]:
                del self.followed[user]
        if not self._count[user]:
            del self._of_user[user], self._count[user]

    def watch(self, listener: Listener, conv_ids: Iterable[str]) -> None:
        """See `Listener`."""
        for conv_id in conv_ids:
            if len(listener.watched) >= MAX_WATCHED or conv_id in listener.watched:
                continue
            listener.watched.add(conv_id)
            self._of_conversation[conv_id].add(listener)
            recent = self._heads.place(conv_id)
            if recent is not None:
                self._notify_head(listener, conv_id, recent)

    def unwatch(self, listener: Listener, conv_id: str) -> None:
        """See `Listener`."""
        listener.watched.discard(conv_id)
        listener.heads.pop(conv_id, None)
        others = self._of_conversation[conv_id]
        others.discard(listener)
        if not others:
            del self._of_conversation[conv_id]

    def woke(self, wake: Wake) -> None:
        """Applies positions of the log, and wakes the listeners that they concern."""
        if wake.is_interrupted:
            for feed in self._feeds(self._of_user):
                feed.reset()
        for record in wake.logged:
            for feed in self._feeds(record.users):
                feed.put(record)
        self._records.note(wake.records)
        for user in self._of_user.keys() & wake.records.keys():  # faster than a loop over records
            for listener in self._of_user[user]:
                listener.announce(wake.records[user])
                listener.wake()
        self._heads.note(wake.heads)
        for conv_id in self._of_conversation.keys() & wake.heads.keys():
            for listener in self._of_conversation[conv_id]:
                self._notify_head(listener, conv_id, wake.heads[conv_id])

    def now_live(self, *, is_live: bool) -> None:
        """Sets whether the log is being followed, and wakes all listeners, which then poll."""
        if is_live == self.is_live:
            return
        self.is_live = is_live
        self._wake_all()

    def close(self) -> None:
        """Ends all waits at once and permanently."""
        self.is_closed = True
        for listener in self._all():
            listener.end()

    async def drain(self) -> None:
        """Ends all waits permanently, one after the other in random order. New waits end at once.

        Takes at most `MAX_DRAIN_SECONDS`.
        """
        self.is_closed = True
        listeners = self._all()
        random.shuffle(listeners)
        interval = min(1 / ENDS_PER_SECOND, MAX_DRAIN_SECONDS / max(1, len(listeners)))
        now = asyncio.get_running_loop().time
        begun = now()
        for number, listener in enumerate(listeners):
            await asyncio.sleep(begun + number * interval - now())
            listener.end()

    def _feeds(self, users: Iterable[str]) -> Iterator[RecordFeed]:
        for user in users:
            for listener in self._of_user.get(user, ()):
                if listener.feed is not None:
                    yield listener.feed

    def _wake_all(self) -> None:
        for listener in self._all():
            listener.wake()

    def _all(self) -> list[Listener]:
        return [each for listeners in self._of_user.values() for each in listeners]

    @staticmethod
    def _notify_head(listener: Listener, conv_id: str, seq: SeqId) -> None:
        listener.heads[conv_id] = max(seq, listener.heads.get(conv_id, seq))
        listener.wake()
