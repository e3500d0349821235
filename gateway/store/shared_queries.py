"""Serializes the queries of one place: at most one is in flight, and many readers share the next.

`gateway.store.coalescing` gives the reasons, and defines a place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Final, Generic, TypeVar

PREVIOUS_QUERY_SECONDS: Final = 0.25
"""Maximum wait of a query for the previous one, some 100 times the usual duration. After that it
is sent in parallel, so that one stuck query does not delay later ones."""

ResultT = TypeVar("ResultT")


class _RunningQuery:
    """A query in flight. ``over`` is completed when the query ends, even by a failure."""

    def __init__(self) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class _Shared(_RunningQuery, Generic[ResultT]):
    """A query that readers may share until it begins; ``wanted`` may grow until then.

    ``before``: the previous query of the same place, for which this one waits; None after its
    begin.
    """

    def __init__(
        self, before: _RunningQuery, wanted: range, query: Callable[[range], Awaitable[ResultT]]
    ) -> None:
        super().__init__()
        self.before: _RunningQuery | None = before
        self.wanted = wanted
        self.sharers = 0
        self._query = query
        self.task = asyncio.create_task(self._run(before))

    def widen(self, wanted: range) -> None:
        """Extends the range: from the lowest to the highest number that any reader wants."""
        low, high = min(self.wanted.start, wanted.start), max(self.wanted.stop, wanted.stop)
        self.wanted = range(low, high)

    async def _run(self, before: _RunningQuery) -> ResultT:
        await asyncio.wait([before.over], timeout=PREVIOUS_QUERY_SECONDS)
        self.before = None  # otherwise continuous readers would build one long chain
        return await self._query(self.wanted)


class QueryQueue:
    """The queries in flight and the waiting queries, by place.

    There are at most as many as callers, so the bound on callers also bounds this memory.
    """

    def __init__(self) -> None:
        self._last: dict[Hashable, _RunningQuery] = {}

    def __len__(self) -> int:
        """The number of places with a query."""
        return len(self._last)

    def free(self, place: Hashable) -> bool:
        """Whether no query of the place is in flight."""
        return place not in self._last

    async def alone(
        self, places: Sequence[Hashable], query: Callable[[], Awaitable[ResultT]]
    ) -> ResultT:
        """Sends a query of free places now. No reader joins it, and later queries wait for it."""
        running = _RunningQuery()
        self._last.update(dict.fromkeys(places, running))
        try:
            return await query()
        finally:
            self._end(running, places)

    async def shared(
        self, place: Hashable, wanted: range, query: Callable[[range], Awaitable[ResultT]]
    ) -> ResultT:
        """Shares the next query of a place that is not free.

        Args:
            place: The place. All callers with the same place must pass the same query.
            wanted: The wanted numbers; the query covers the range over all callers.
            query: Sends the query.
        """
        running = self._next(place, wanted, query)
        running.sharers += 1
        try:
            return await asyncio.shield(running.task)
        finally:
            running.sharers -= 1
            if running.sharers == 0:
                self._leave(place, running)

    def _next(
        self, place: Hashable, wanted: range, query: Callable[[range], Awaitable[ResultT]]
    ) -> _Shared[ResultT]:
        last = self._last[place]
        if isinstance(last, _Shared) and last.before is not None:
            last.widen(wanted)
            return last
        running = _Shared(last, wanted, query)
        running.task.add_done_callback(lambda task: self._answered(place, running, task))
        self._last[place] = running
        return running

    def _leave(self, place: Hashable, running: _Shared[Any]) -> None:
        """Called when all readers have gone, with or without a result."""
        running.task.cancel()
        if running.before is not None and self._last.get(place) is running:
            # No reader may join a query that is being cancelled; the previous one is last again.
            self._last[place] = running.before
            if running.before.over.done():
                del self._last[place]

    def _answered(self, place: Hashable, running: _RunningQuery, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            task.exception()  # all readers may have gone, so nobody else retrieves it
        self._end(running, [place])

    def _end(self, running: _RunningQuery, places: Sequence[Hashable]) -> None:
        running.over.set_result(None)
        for place in places:
            if self._last.get(place) is running:
                del self._last[place]
