"""Who waits for what, and what the log has told of it: wake-ups.

A wake-up says that something has come, and how far the log is. It never carries what is answered:
that is read from the store, and only from there. A wake-up may come too early (the sinks are not
that far), twice, or not at all; a reader who is woken reads the store until that has what the log
told of, and looks by itself now and then.

Whoever waits listens *before* they read the store. What the log told shortly before that is
remembered, because the sinks may be behind it: it counts as told to whoever begins to listen.

For one event loop, like everything that waits in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from gateway.problems import too_many_listeners

MAX_LISTENERS: Final = 4_096
"""Of one gateway."""

MAX_LISTENERS_OF_ONE: Final = 16
"""Of one person: each of their devices needs one, and one more for a moment when it returns."""

MAX_WATCHED: Final = 10_000
"""Conversations of one listener; of the others it is not woken."""

RECENT: Final = 50_000
"""Recipients, and conversations, whose last place is remembered: some 10 MB each."""

RECENT_SECONDS: Final = 60.0
"""How long a sink may be behind so that nobody has to look by themselves."""


class Wake(NamedTuple):
    """What the log has told.

    ``records``: by recipient, the highest sync SeqId. ``heads``: by conversation, the highest
    SeqId.
    """

    records: Mapping[str, int]
    heads: Mapping[str, int]


class _Recent:
    """The last place of each of many timelines, for a while."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._places: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def note(self, name: str, place: int) -> None:
        before, _ = self._places.pop(name, (place, 0.0))
        self._places[name] = (max(before, place), self._clock())
        if len(self._places) > RECENT:
            self._places.popitem(last=False)

    def place(self, name: str) -> int | None:
        """Where it was a short time ago, or None if nothing came then."""
        place, at = self._places.get(name, (0, -RECENT_SECONDS))
        return place if self._clock() - at < RECENT_SECONDS else None


class Listener:
    """One waiting reader.

    Attributes:
        known: The highest sync SeqId that the log or the store has announced, -1 at first.
        heads: By watched conversation, the SeqId that the log has announced and that the reader
            has yet to see to. The reader takes it out.
    """

    def __init__(self, wake_ups: WakeUps, user: str, known: int) -> None:
        self.user = user
        self.known = known
        self.heads: dict[str, int] = {}
        self.watched: set[str] = set()
        self._wake_ups = wake_ups
        self._woken = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """Whether the gateway is about to end, so that nobody may wait any more."""
        return self._wake_ups.is_closed

    @property
    def is_live(self) -> bool:
        """Whether the log is being followed; otherwise no wake-up comes."""
        return self._wake_ups.is_live

    def announce(self, sync_seq: int) -> None:
        """Notes that the store has a reference whose entry it does not have yet."""
        self.known = max(self.known, sync_seq)

    def watch(self, conv_ids: Iterable[str]) -> None:
        """Wants to be woken when these conversations go on."""
        self._wake_ups.watch(self, conv_ids)

    def unwatch(self, conv_id: str) -> None:
        """Does not any more."""
        self._wake_ups.unwatch(self, conv_id)

    def wake(self) -> None:
        """Ends its wait, now or the next one."""
        self._woken.set()

    async def wait(self, seconds: float) -> None:
        """Waits for a wake-up, for so long at most. One that came since the last wait counts."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        self._woken.clear()

    async def pause(self, seconds: float) -> None:
        """Waits whatever comes, but for the end of the gateway."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake_ups.closing.wait()


class WakeUps:
    """All who wait in one gateway.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.is_live = False
        self.closing = asyncio.Event()
        self._of_user: defaultdict[str, set[Listener]] = defaultdict(set)
        self._of_conversation: defaultdict[str, set[Listener]] = defaultdict(set)
        self._count: Counter[str] = Counter()
        self._records = _Recent(clock)
        self._heads = _Recent(clock)

    @property
    def is_closed(self) -> bool:
        """Whether nobody may wait any more."""
        return self.closing.is_set()

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return self._count.total()

    @contextlib.contextmanager
    def listening(self, user: str) -> Iterator[Listener]:
        """A listener for what comes to one person.

        Raises:
            Problem: 429, if there are as many as there may be.
        """
        if self._count[user] >= MAX_LISTENERS_OF_ONE or self.listeners >= MAX_LISTENERS:
            raise too_many_listeners()
        recent = self._records.place(user)
        listener = Listener(self, user, -1 if recent is None else recent)
        self._count[user] += 1
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
                self._tell_head(listener, conv_id, recent)

    def unwatch(self, listener: Listener, conv_id: str) -> None:
        """See `Listener`."""
        listener.watched.discard(conv_id)
        listener.heads.pop(conv_id, None)
        others = self._of_conversation[conv_id]
        others.discard(listener)
        if not others:
            del self._of_conversation[conv_id]

    def woke(self, wake: Wake) -> None:
        """Takes what the log has told, and wakes whom it is of."""
        for user, place in wake.records.items():
            self._records.note(user, place)
            for listener in self._of_user.get(user, ()):
                listener.known = max(listener.known, place)
                listener.wake()
        for conv_id, seq in wake.heads.items():
            self._heads.note(conv_id, seq)
            for listener in self._of_conversation.get(conv_id, ()):
                self._tell_head(listener, conv_id, seq)

    def now_live(self, *, is_live: bool) -> None:
        """Takes whether the log is being followed. Who waits for it looks by themselves now."""
        if is_live == self.is_live:
            return
        self.is_live = is_live
        self._wake_all()

    def close(self) -> None:
        """Ends all waits, for good."""
        self.closing.set()
        self._wake_all()

    def _wake_all(self) -> None:
        for listeners in self._of_user.values():
            for listener in listeners:
                listener.wake()

    @staticmethod
    def _tell_head(listener: Listener, conv_id: str, seq: int) -> None:
        listener.heads[conv_id] = max(seq, listener.heads.get(conv_id, 0))
        listener.wake()
