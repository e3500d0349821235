"""Readers of the same place share their queries: a store before the store.

**Which reads may share.** A read may have the answer of a query that began after the read was
asked for, and of no other. The answer is then what was durable at some instant between the call
and the return, which is all that `gateway.store.Store` says and all that `gateway.access` and
`gateway.sync` rely on; it holds for heads, for entries that are not there yet, and for what is
overwritten, alike. A query that is under way already may have passed the row in question before
the caller called, so nobody joins it. There is one exception that would be right today, that of
entries which no longer change; it is not made, because a recall changes them, and who asks after
a recall must not get the text from a query of before. For the same reason nothing is kept once it
is answered: there is no cache that could be stale.

**How.** Of each place at most one query is under way, and at most one waits for its turn. Who asks
while the place is free has their query sent at once, as they asked it. Who asks while one is under
way shares the next with all others who do, and that one is sent when the first has been answered,
or after `PATIENCE_SECONDS`. So any number of readers at once make two queries, and a crowd that
does not end makes one query a round trip. Alone, a reader pays nothing.

**Places.** Of heads and sync timelines a place is one question with all its parameters. Of entries
it is a fixed run of `SLICE` SeqIds (0 to 99, 100 to 199 …; a bucket is so many whole slices), so
that readers of different ranges that overlap share as well: the shared query is for all that is
wanted of the slice, and each reader takes theirs out of the answer. Chosen entries share these
places: a shared query reads all from the lowest to the highest chosen SeqId of the slice.

**Who goes away** takes nobody's query along; when all have gone it is given up. A failure goes to
everybody who shares the query, and to nobody else.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Final, Generic, TypeVar

from gateway.device_store import DeviceStore
from gateway.store import (
    SLICE,
    Change,
    Conversation,
    Expiry,
    ReadMark,
    Store,
    StoredEntry,
    StoredRow,
)

PATIENCE_SECONDS: Final = 0.25
"""How long a query waits for the one before it: some 100 times the usual. Then it is sent beside
it, so that one that is stuck does not hold up those that come later."""

ResultT = TypeVar("ResultT")


class _Turn:
    """A query that is under way. ``over`` is completed whatever becomes of it."""

    def __init__(self) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class _Shared(_Turn, Generic[ResultT]):
    """A query that several may share until it begins; ``wanted`` may grow until then.

    ``before``: the query of the same place that it waits for; None once it has begun.
    """

    def __init__(
        self, before: _Turn, wanted: range, query: Callable[[range], Awaitable[ResultT]]
    ) -> None:
        super().__init__()
        self.before: _Turn | None = before
        self.wanted = wanted
        self.sharers = 0
        self._query = query
        self.task = asyncio.create_task(self._run(before))

    def widen(self, wanted: range) -> None:
        """From the lowest to the highest that anybody wants."""
        low, high = min(self.wanted.start, wanted.start), max(self.wanted.stop, wanted.stop)
        self.wanted = range(low, high)

    async def _run(self, before: _Turn) -> ResultT:
        await asyncio.wait([before.over], timeout=PATIENCE_SECONDS)
        self.before = None  # or a crowd that does not end would be one long chain
        return await self._query(self.wanted)


class Turns:
    """The queries under way and those that wait, by place.

    No more than there are callers: who bounds these bounds what is kept here.
    """

    def __init__(self) -> None:
        self._last: dict[Hashable, _Turn] = {}

    def __len__(self) -> int:
        """Places with a query; none when nobody reads."""
        return len(self._last)

    def free(self, place: Hashable) -> bool:
        """Whether no query of the place is under way."""
        return place not in self._last

    async def alone(
        self, places: Sequence[Hashable], query: Callable[[], Awaitable[ResultT]]
    ) -> ResultT:
        """Sends a query of places that are free, now. Nobody joins it, and later ones wait."""
        turn = _Turn()
        self._last.update(dict.fromkeys(places, turn))
        try:
            return await query()
        finally:
            self._end(turn, places)

    async def shared(
        self, place: Hashable, wanted: range, query: Callable[[range], Awaitable[ResultT]]
    ) -> ResultT:
        """Shares the next query of a place that is not free.

        Args:
            place: All who name it must give the same query.
            wanted: Numbers; the query is for all from the lowest to the highest that is wanted.
            query: Sends it.
        """
        turn = self._next(place, wanted, query)
        turn.sharers += 1
        try:
            return await asyncio.shield(turn.task)
        finally:
            turn.sharers -= 1
            if turn.sharers == 0:
                self._leave(place, turn)

    def _next(
        self, place: Hashable, wanted: range, query: Callable[[range], Awaitable[ResultT]]
    ) -> _Shared[ResultT]:
        last = self._last[place]
        if isinstance(last, _Shared) and last.before is not None:
            last.widen(wanted)
            return last
        turn = _Shared(last, wanted, query)
        turn.task.add_done_callback(lambda task: self._answered(place, turn, task))
        self._last[place] = turn
        return turn

    def _leave(self, place: Hashable, turn: _Shared[Any]) -> None:
        """All have gone, with the answer or without it."""
        turn.task.cancel()
        if turn.before is not None and self._last.get(place) is turn:
            # Nobody may join what is being given up; the one before it is the last again.
            self._last[place] = turn.before
            if turn.before.over.done():
                del self._last[place]

    def _answered(self, place: Hashable, turn: _Turn, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            task.exception()  # nobody may be left to hear of it, which is no defect
        self._end(turn, [place])

    def _end(self, turn: _Turn, places: Sequence[Hashable]) -> None:
        turn.over.set_result(None)
        for place in places:
            if self._last.get(place) is turn:
                del self._last[place]


class CoalescingStore:
    """`gateway.store.Store` before another one, with fewer queries and the same answers."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._turns = Turns()

    @property
    def devices(self) -> DeviceStore:
        """See `Store`."""
        return self._store.devices

    async def conversation(self, conv_id: str) -> Conversation | None:
        """See `Store`."""
        return await self._same(
            ("conversation", conv_id), lambda: self._store.conversation(conv_id)
        )

    async def changes(self, user: str, conv_id: str) -> list[Change]:
        """See `Store`."""
        return await self._store.changes(user, conv_id)

    async def all_changes(self, user: str) -> dict[str, list[Change]]:
        """See `Store`."""
        return await self._store.all_changes(user)

    async def conversation_ids(self, user: str, after: str, limit: int) -> list[str]:
        """See `Store`."""
        return await self._store.conversation_ids(user, after, limit)

    async def messages_up_to(self, conv_id: str, seq: int) -> int:
        """See `Store`."""
        return await self._store.messages_up_to(conv_id, seq)

    async def read_mark(self, conv_id: str, user: str) -> ReadMark:
        """See `Store`."""
        return await self._store.read_mark(conv_id, user)

    async def entries(self, conv_id: str, first: int, last: int) -> list[StoredEntry]:
        """See `Store`. Touches two slices at most."""
        numbers = range(first // SLICE, last // SLICE + 1)
        slices: list[Hashable] = [("entries", conv_id, number) for number in numbers]
        if all(map(self._turns.free, slices)):
            return await self._turns.alone(
                slices, lambda: self._store.entries(conv_id, first, last)
            )
        wanted = range(first, last + 1)
        places = zip(slices, numbers, strict=True)
        reads = (self._part(place, conv_id, _cut(wanted, number)) for place, number in places)
        parts = await asyncio.gather(*reads, return_exceptions=True)  # none is left to itself
        return [entry for part in parts for entry in _answer(part) if entry.seq in wanted]

    async def _part(self, place: Hashable, conv_id: str, wanted: range) -> list[StoredEntry]:
        def query(seqs: range) -> Awaitable[list[StoredEntry]]:
            return self._store.entries(conv_id, seqs.start, seqs.stop - 1)

        if self._turns.free(place):
            return await self._turns.alone([place], lambda: query(wanted))
        return await self._turns.shared(place, wanted, query)

    async def chosen_entries(self, conv_id: str, seqs: list[int]) -> list[StoredEntry]:
        """See `Store`."""
        by_slice: defaultdict[int, list[int]] = defaultdict(list)
        for seq in seqs:
            by_slice[seq // SLICE].append(seq)
        slices: list[Hashable] = [("entries", conv_id, number) for number in by_slice]
        if all(map(self._turns.free, slices)):
            return await self._turns.alone(
                slices, lambda: self._store.chosen_entries(conv_id, seqs)
            )
        places = zip(slices, by_slice.values(), strict=True)
        reads = (self._chosen_part(place, conv_id, chosen) for place, chosen in places)
        parts = await asyncio.gather(*reads, return_exceptions=True)  # none is left to itself
        return [entry for part in parts for entry in _answer(part)]

    async def _chosen_part(
        self, place: Hashable, conv_id: str, chosen: list[int]
    ) -> list[StoredEntry]:
        if self._turns.free(place):
            return await self._turns.alone(
                [place], lambda: self._store.chosen_entries(conv_id, chosen)
            )
        found = await self._part(place, conv_id, range(min(chosen), max(chosen) + 1))
        return [entry for entry in found if entry.seq in chosen]

    async def sync_buckets(self, user: str, first: int, limit: int) -> list[int]:
        """See `Store`."""
        return await self._same(
            ("sync_buckets", user, first, limit),
            lambda: self._store.sync_buckets(user, first, limit),
        )

    async def sync_rows(self, user: str, bucket: int, after: int, limit: int) -> list[StoredRow]:
        """See `Store`."""
        return await self._same(
            ("sync_rows", user, bucket, after, limit),
            lambda: self._store.sync_rows(user, bucket, after, limit),
        )

    async def sync_buckets_back(self, user: str, last: int, limit: int) -> list[int]:
        """See `Store`."""
        return await self._same(
            ("sync_buckets_back", user, last, limit),
            lambda: self._store.sync_buckets_back(user, last, limit),
        )

    async def sync_rows_back(
        self, user: str, bucket: int, before: int, limit: int
    ) -> list[StoredRow]:
        """See `Store`."""
        return await self._same(
            ("sync_rows_back", user, bucket, before, limit),
            lambda: self._store.sync_rows_back(user, bucket, before, limit),
        )

    async def expiries(self, user: str, limit: int) -> list[Expiry]:
        """See `Store`."""
        return await self._same(
            ("expiries", user, limit), lambda: self._store.expiries(user, limit)
        )

    async def reachable(self) -> bool:
        """See `Store`."""
        return await self._store.reachable()

    async def _same(self, place: Hashable, query: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Shares a question with those who ask exactly the same."""
        if self._turns.free(place):
            return await self._turns.alone([place], query)
        return await self._turns.shared(place, range(0), lambda _: query())


def _answer(part: list[StoredEntry] | BaseException) -> list[StoredEntry]:
    if isinstance(part, BaseException):
        raise part
    return part


def _cut(seqs: range, number: int) -> range:
    """What lies in one slice."""
    return range(max(seqs.start, number * SLICE), min(seqs.stop, (number + 1) * SLICE))
