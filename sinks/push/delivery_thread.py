"""The event loop of the deliveries, in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from threading import Event, Thread
from typing import Final, Protocol

from backends.identity.identity_watch import end_process
from backends.processes.minute_log import MinuteLog
from schemas.errors import FatalFailure, RetryableError
from schemas.number_types import ShardNumber
from schemas.settings import Settings
from sinks.outbound.http_delivery import HttpDelivery
from sinks.push.push_delivery import PushTarget
from sinks.push.push_dispatcher import DUE_TICK_SECONDS, SENDING_SECONDS, PushDispatcher
from sinks.push.push_memory import PushMemory
from sinks.push.push_people import PeopleThread

JOIN_SECONDS: Final = 5.0
"""Maximum wait for the end of the thread, after its deliveries have ended."""

_logger = logging.getLogger(__name__)
_trouble: Final = MinuteLog(_logger)


class NewShards(Protocol):
    """The shards that are not taken over yet; see `sinks.push.push_writer.PushWriter`."""

    @property
    def has_new(self) -> bool:
        """Whether there are such shards."""
        ...

    def restore_new(self) -> None:
        """Takes them over. Blocks. Raises `RetryableError`."""
        ...

    @property
    def has_replays(self) -> bool:
        """Whether an operator replays notifications."""
        ...

    def begin_replays(self) -> None:
        """Lets these notifications wait again. Blocks. Raises `RetryableError`."""
        ...


class DeliveryThread:
    """A `sinks.push.push_writer.DeliveriesControl`. A failure of the thread ends the process.

    Args:
        settings: The settings of the deployment.
        make: Makes the dispatcher, in the event loop.
        memory: The planner.
        following: The thread that follows the devices, which is checked for a failure.
        threads: Run the calls that block.
    """

    def __init__(
        self,
        settings: Settings,
        make: Callable[[HttpDelivery], PushDispatcher],
        memory: PushMemory,
        following: PeopleThread,
        threads: Executor,
    ) -> None:
        self._settings = settings
        self._make = make
        self._memory = memory
        self._following = following
        self._threads = threads
        self._stopping = Event()
        self._ready = Event()
        self._shards: NewShards
        self._loop: asyncio.AbstractEventLoop
        self._dispatcher: PushDispatcher
        self._thread = Thread(target=self._run, name="push-deliveries", daemon=True)

    def start(self, shards: NewShards) -> None:
        """Starts the thread, which takes new shards over at each tick."""
        self._shards = shards
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """Ends the thread. The deliveries have ended before, with the last revocation."""
        self._stopping.set()
        self._thread.join(JOIN_SECONDS)

    def drain(self, shards: Sequence[ShardNumber]) -> None:
        """See `DeliveriesControl`."""
        draining = self._dispatcher.drain(self._is_in(shards))
        future = asyncio.run_coroutine_threadsafe(draining, self._loop)
        future.result(SENDING_SECONDS + 1)

    def cancel(self, shards: Sequence[ShardNumber]) -> None:
        """See `DeliveriesControl`."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._dispatcher.cancel, self._is_in(shards))

    def check(self) -> None:
        """See `DeliveriesControl`."""
        self._following.check()

    def _is_in(self, shards: Sequence[ShardNumber]) -> Callable[[PushTarget], bool]:
        """Whether a target is in one of the shards, or in a shard that was given up."""

        def is_ours(target: PushTarget) -> bool:
            owner = self._memory.do(lambda planner: planner.owner(target.key))
            return owner is None or owner in shards

        return is_ours

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001 - without this thread nothing is delivered
            _logger.critical("deliveries end by %s", type(error).__name__)
            end_process(
                error
                if isinstance(error, FatalFailure)
                else FatalFailure(f"deliveries end by {type(error).__name__}")
            )

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with HttpDelivery(self._settings.outbound_policy) as http:
            self._dispatcher = self._make(http)
            self._ready.set()
            while not self._stopping.is_set():
                await self._tick()
                await asyncio.sleep(DUE_TICK_SECONDS)

    async def _tick(self) -> None:
        self._following.check()
        if self._dispatcher.failure is not None:
            raise self._dispatcher.failure
        self._memory.serve()
        try:
            if self._shards.has_new:
                await self._loop.run_in_executor(self._threads, self._shards.restore_new)
            if self._shards.has_replays:
                await self._loop.run_in_executor(self._threads, self._shards.begin_replays)
            if self._memory.is_behind:
                await self._loop.run_in_executor(self._threads, self._memory.flush)
        except RetryableError as error:
            _trouble.warning("waits: %s", error)
        self._dispatcher.begin_due()
