"""A call that runs in parallel with the loop."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Thread
from typing import Generic, Protocol, TypeVar

ResultT = TypeVar("ResultT")
ResultT_co = TypeVar("ResultT_co", covariant=True)


class Task(Protocol[ResultT_co]):
    """A call that was started."""

    def wait(self, seconds: float) -> bool:
        """Waits with a timeout, and returns whether the call has ended."""
        ...

    def succeeded(self) -> bool:
        """Whether the ended call returned without an exception."""
        ...

    def result(self) -> ResultT_co:
        """The result of the ended call; raises its exception."""
        ...


class ThreadTask(Generic[ResultT]):
    """Runs a call in its own thread.

    The thread is a daemon, so a hanging write does not prevent the end of the process.
    """

    def __init__(self, call: Callable[[], ResultT]) -> None:
        self._future: Future[ResultT] = Future()
        Thread(target=self._run, args=(call,), daemon=True, name="sink-writer").start()

    def wait(self, seconds: float) -> bool:
        """See `Task.wait`."""
        return bool(wait([self._future], seconds).done)

    def succeeded(self) -> bool:
        """See `Task.succeeded`."""
        return self._future.exception(timeout=0) is None

    def result(self) -> ResultT:
        """See `Task.result`."""
        return self._future.result(timeout=0)

    def _run(self, call: Callable[[], ResultT]) -> None:
        try:
            self._future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised by `result`
            self._future.set_exception(error)
