"""Repeated attempts to deliver, with a bound for each destination.

The webhooks stage and the push stage share the class `DestinationSender`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import Final, NamedTuple, TypeAlias

from msgspec import Struct

from schemas.errors import RetryableError
from sinks.outbound.outbound_metrics import AttemptObserver, NoAttemptObserver
from sinks.outbound.outcomes import DeliveryFailed, DeliveryOutcome

Attempt: TypeAlias = Callable[[], Awaitable[DeliveryOutcome]]
"""One attempt to deliver. Raises `DeliveryFailed` if a later attempt may succeed."""

_FAILURES_TO_PAUSE: Final = 5
"""Successive failures of a destination after which the destination is paused. Fewer failures may
be the fault of single items."""


_UNOBSERVED: Final = NoAttemptObserver()


class SenderBounds(NamedTuple):
    """The bounds of a sender. Durations in seconds.

    ``waiting``: items of one destination, also those in an attempt. ``concurrency``: attempts of
    one destination at once. ``total``: attempts of all destinations at once. ``first_pause`` and
    ``longest_pause``: maximum random pause after the first failure, and after any failure.
    ``attempt``: maximum duration of one attempt.
    """

    waiting: int = 1_000
    concurrency: int = 8
    total: int = 512
    first_pause: float = 1.0
    longest_pause: float = 300.0
    attempt: float = 30.0


class Expired(Struct, frozen=True):
    """No attempt succeeded before the deadline: the item becomes a dead letter.

    ``reason`` is the reason of the last failure, with the same restrictions as
    `sinks.outbound.outcomes.DeliveryRefused.reason`.
    """

    reason: str


class DestinationFull(RetryableError):
    """The destination has the maximum number of waiting items. Offer the item later."""


class _Destination:
    """The state of one destination while it has items or failures."""

    def __init__(self, concurrency: int) -> None:
        self.items = 0
        self.slots = asyncio.Semaphore(concurrency)
        self.probe = asyncio.Lock()
        self.failures = 0
        self.paused_until = 0.0
        self.last_reason = "no attempt was made"

    @property
    def is_paused(self) -> bool:
        return self.failures >= _FAILURES_TO_PAUSE


class DestinationSender:
    """Delivers items to many destinations, so that no destination delays another.

    Shape: ``outcome = await sender.send(destination, attempt, deadline)``, in one task for each
    item. `send` returns when the outcome is final; the caller then makes the outcome durable.
    The sender itself stores nothing: after a restart, the caller sends again all items without a
    durable outcome.

    - A failed item is repeated after a random pause between 0 and a bound. The bound doubles with
      each failure of the item ("full jitter", Brooker, AWS Architecture Blog, 2015). The pause is
      not shorter than the server demanded (``Retry-After``), and ends at the deadline, at which
      the last attempt begins.
    - After `_FAILURES_TO_PAUSE` successive failures, a destination is paused in the same way for
      all of its items, and then gets one attempt at a time until an attempt succeeds.
    - An item that waits for a paused destination until its deadline expires without an attempt.
    - `send` for one destination keeps no order among items that run at once. A caller that needs
      order sends the next item after the outcome of the previous one.
    - A destination with ``waiting`` items is full: `send` raises `DestinationFull` at once, so a
      destination that is down cannot fill the memory or block the caller. `room` tells before.

    Times are those of ``asyncio.get_running_loop().time()``. Use from one event loop only.

    Args:
        bounds: The bounds.
        chance: Random numbers from 0 to 1, for the pauses.
    """

    def __init__(
        self,
        bounds: SenderBounds = SenderBounds(),  # noqa: B008 - a tuple
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._bounds = bounds
        self._chance = chance
        self._total = asyncio.Semaphore(bounds.total)
        self._destinations: dict[str, _Destination] = {}

    def room(self, destination: str) -> int:
        """The number of items that the destination takes now."""
        known = self._destinations.get(destination)
        return self._bounds.waiting - (known.items if known else 0)

    async def send(
        self,
        destination: str,
        attempt: Attempt,
        deadline: float,
        observer: AttemptObserver = _UNOBSERVED,
    ) -> DeliveryOutcome | Expired:
        """Repeats an attempt until it has an outcome, or until the deadline.

        Args:
            destination: Names the server, or the part of it that fails together.
            attempt: One attempt; not called again after it has returned.
            deadline: The time of the last attempt.
            observer: Receives the attempts.

        Raises:
            DestinationFull: The destination takes no more items now.
        """
        with self._place(destination) as lane, ExitStack() as retrying:
            failures = 0
            while True:
                try:
                    return await self._try(lane, attempt, deadline, observer)
                except DeliveryFailed as failure:
                    if _now() >= deadline:
                        return Expired(str(failure))
                    if not failures:
                        retrying.enter_context(observer.retrying())
                    failures += 1
                    pause = max(self._pause(failures), failure.retry_after or 0)
                    await asyncio.sleep(min(pause, deadline - _now()))

    @contextmanager
    def _place(self, name: str) -> Iterator[_Destination]:
        """A place among the items of the destination. The last item removes it."""
        lane = self._destinations.setdefault(name, _Destination(self._bounds.concurrency))
        if lane.items >= self._bounds.waiting:
            raise DestinationFull(f"{lane.items} items wait for one destination")
        lane.items += 1
        try:
            yield lane
        finally:
            lane.items -= 1
            if not lane.items:
                del self._destinations[name]

    async def _try(
        self, lane: _Destination, attempt: Attempt, deadline: float, observer: AttemptObserver
    ) -> DeliveryOutcome:
        """One attempt, when the destination permits it."""
        async with self._turn(lane, deadline), self._total:
            try:
                async with asyncio.timeout(self._bounds.attempt):
                    outcome = await attempt()
            except TimeoutError:
                observer.attempted(None)
                self._failed(lane, "timeout of the attempt")
                raise DeliveryFailed("timeout of the attempt") from None
            except DeliveryFailed as failure:
                observer.attempted(None)
                self._failed(lane, str(failure))
                raise
        observer.attempted(outcome)
        lane.failures = 0
        return outcome

    @asynccontextmanager
    async def _turn(self, lane: _Destination, deadline: float) -> AsyncIterator[None]:
        """Waits for a slot of the destination, and while the destination is paused."""
        async with AsyncExitStack() as turn:
            try:
                # A deadline in the past still permits an attempt that need not wait.
                async with asyncio.timeout_at(deadline):
                    await turn.enter_async_context(lane.slots)
                    if lane.is_paused:
                        await turn.enter_async_context(lane.probe)
                    if lane.is_paused and lane.paused_until > _now():
                        await asyncio.sleep(lane.paused_until - _now())
            except TimeoutError:
                raise DeliveryFailed(lane.last_reason) from None
            yield

    def _failed(self, lane: _Destination, reason: str) -> None:
        lane.failures += 1
        lane.last_reason = reason
        if lane.is_paused:
            pause = self._pause(lane.failures - _FAILURES_TO_PAUSE + 1)
            lane.paused_until = _now() + pause

    def _pause(self, failures: int) -> float:
        doubled = self._bounds.first_pause * 2.0 ** min(failures - 1, 60)
        return self._chance() * min(doubled, self._bounds.longest_pause)


def _now() -> float:
    return asyncio.get_running_loop().time()
