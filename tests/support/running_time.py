"""A clock that stands still while the machine does not run the process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import Final

_STEP_SECONDS: Final = 0.01
_LONGEST_STEP_SECONDS: Final = 0.02
"""A longer step without use of the processor is a pause of the process."""


class RunningTime:
    """The seconds in which this process ran or waited. A pause of the whole process counts little.

    A test bounds a delay within its process by this clock, because a busy machine may stop the
    process for seconds. A blocked thread is no pause: another thread reads the clock all the time.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._seconds = 0.0
        self._wall, self._processor = time.monotonic(), time.process_time()

    def __call__(self) -> float:
        """The seconds since the clock was made."""
        with self._lock:
            wall, processor = time.monotonic(), time.process_time()
            used = max(_LONGEST_STEP_SECONDS, processor - self._processor)
            self._seconds += min(wall - self._wall, used)
            self._wall, self._processor = wall, processor
            return self._seconds


@contextmanager
def running_time() -> Iterator[RunningTime]:
    """A clock that another thread reads in small steps until the block ends."""
    clock, ended = RunningTime(), Event()

    def read() -> None:
        while not ended.wait(_STEP_SECONDS):
            clock()

    thread = Thread(target=read, daemon=True)
    thread.start()
    try:
        yield clock
    finally:
        ended.set()
        thread.join()
