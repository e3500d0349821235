"""Passes results from the threads of a driver to the event loop, many results at each wake-up.

A thread wakes the event loop by a write to a socket, which takes longer than the read of a small
row. So results that arrive while the loop is busy are collected, and the next iteration of the
loop takes all of them.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from threading import Lock
from typing import Any, Generic, NamedTuple, TypeVar

ResultT = TypeVar("ResultT")


class _Arrival(NamedTuple):
    waiting: asyncio.Future[Any]
    result: Any
    error: BaseException | None


class Bridge(Generic[ResultT]):
    """Futures of one event loop that other threads complete. Created on that loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lock = Lock()
        self._arrivals: list[_Arrival] = []
        self.wake_ups = 0

    def future(self) -> asyncio.Future[ResultT]:
        """A future to await on the loop."""
        return self._loop.create_future()

    def succeed(self, result: ResultT, waiting: asyncio.Future[ResultT]) -> None:
        """Completes a future from any thread."""
        self._arrive(_Arrival(waiting, result, None))

    def fail(self, error: BaseException, waiting: asyncio.Future[ResultT]) -> None:
        """Completes a future with an exception, from any thread."""
        self._arrive(_Arrival(waiting, None, error))

    def _arrive(self, arrival: _Arrival) -> None:
        with self._lock:
            first = not self._arrivals
            self._arrivals.append(arrival)
        if first:  # otherwise an earlier result has woken the loop already
            with suppress(RuntimeError):  # the loop has ended, so nobody waits for the result
                self._loop.call_soon_threadsafe(self._hand_over)

    def _hand_over(self) -> None:
        self.wake_ups += 1
        with self._lock:
            arrivals, self._arrivals = self._arrivals, []
        for waiting, result, error in arrivals:
            if waiting.done():  # cancelled by its waiter
                continue
            if error is None:
                waiting.set_result(result)
            else:
                waiting.set_exception(error)
