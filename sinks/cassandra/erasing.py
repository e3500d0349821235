"""Erases recalled texts beside the batches that follow, with bounds on how much and how long."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from threading import Event
from typing import Final

from schemas.errors import TransientFailure
from sinks.cassandra.erasure import Recall

ERASERS: Final = 16
"""Timelines read at a time, of all batches together."""

MOST_PENDING: Final = 10_000
"""Erasures that may wait, some 5 MB. Beyond that a batch waits for all of them."""

LONGEST_SECONDS: Final = 30.0
"""After this time without a moment in which all is erased, a batch waits for that. Commits wait
for it, and recalls that follow one another without a pause would put them off for ever."""

_RETRY_SECONDS: Final = 0.5


class Erasing:
    """Runs erasures in threads of its own.

    Args:
        erase: Erases what one recall names; raises `TransientFailure` to be called again.
        monotonic: A clock for the bound on time.
    """

    def __init__(
        self, erase: Callable[[Recall], None], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._erase = erase
        self._monotonic = monotonic
        self._threads = ThreadPoolExecutor(ERASERS, "eraser")
        self._closed = Event()
        self._pending: set[Future[None]] = set()
        self._since = 0.0

    def add(self, recalls: Sequence[Recall]) -> None:
        """Begins to erase. All rows below the recalls have to be durable."""
        if not self.is_pending():
            self._since = self._monotonic()
        more = {self._threads.submit(self._run, recall) for recall in recalls}
        self._pending = self._pending | more  # `is_pending` may iterate in another thread

    def is_pending(self) -> bool:
        """Whether something is not erased yet. From any thread.

        Raises:
            FatalFailure: An erasure failed, and a retry does not help.
        """
        pending = self._pending
        for future in pending:
            if not future.done():
                return True
            future.result()
        return False

    def make_room(self) -> None:
        """Waits for all erasures where they are too many, or go on for too long.

        Raises:
            FatalFailure: As `is_pending`.
        """
        self._pending = {future for future in self._pending if not _succeeded(future)}
        too_long = self._monotonic() - self._since > LONGEST_SECONDS
        if self._pending and (too_long or len(self._pending) > MOST_PENDING):
            wait(self._pending, return_when=FIRST_EXCEPTION)
        self.is_pending()

    def wait(self, seconds: float) -> bool:
        """Waits until all is erased, or so many seconds; says whether all is erased.

        Raises:
            FatalFailure: As `is_pending`.
        """
        wait(self._pending, seconds)
        return not self.is_pending()

    def close(self) -> None:
        """Drops what is not erased: nothing of it is committed, so another process erases it."""
        self._closed.set()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self, recall: Recall) -> None:
        while True:
            try:
                self._erase(recall)
            except TransientFailure:
                if self._closed.wait(_RETRY_SECONDS):
                    return  # the process ends without a commit
            else:
                return


def _succeeded(future: Future[None]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None
