"""Queries of one place take turns: at most one is under way, and one waits that many share.

`gateway.coalescing` says why, and what a place is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Final, Generic, TypeVar

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
