"""Runs the deliveries of all due notifications, in an event loop of its own thread.

Each destination has its own line of waiting deliveries and its own bound of running ones. So a
destination that is slow or down delays no other destination.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol
from urllib.parse import urlsplit

from backends.processes.minute_log import MinuteLog
from schemas.errors import RetryableError, TransientFailure
from schemas.number_types import Milliseconds, SeqId
from schemas.push_addresses import PushAddress, url_of
from schemas.push_devices import PushDevice
from schemas.replays import GivenUpNotification
from sinks.outbound.destination_sender import DestinationFull, Expired
from sinks.outbound.outcomes import Delivered, DeliveryOutcome, DeliveryRefused, Gone
from sinks.push.push_delivery import DeliveryTools, PushDelivery, PushTarget
from sinks.push.push_planner import PushPlanner
from sinks.push.push_state import PushKey, PushPerson

DUE_TICK_SECONDS: Final = 0.05
"""Interval of the search for due notifications; a part of their delay."""

MAX_DUE: Final = 1_000
"""Maximum number of due conversations of one tick, so that a tick is short."""

MAX_RUNNING_OF_ONE: Final = 32
"""Maximum number of deliveries in progress of one destination."""

MAX_RUNNING: Final = 20_000
"""Number of deliveries in progress, some 10 KB each, from which a destination has at most one."""

MAX_LINE: Final = 100_000
"""Maximum number of waiting deliveries of one destination. Beyond, the oldest is a dead letter."""

SENDING_SECONDS: Final = 12.0
"""How long the end waits for requests without an outcome; longer than the timeout of a request."""

_RETRY_SECONDS: Final = 1.0
"""Pause before another attempt to write a dead letter or to remove an address."""

_logger = logging.getLogger(__name__)
_line_log: Final = MinuteLog(_logger)
_trouble: Final = MinuteLog(_logger)


class PushLetters(Protocol):
    """Dead letters of notifications."""

    def send(self, user: str, given_up: GivenUpNotification, reason: str) -> None:
        """Makes a dead letter durable. Raises `TransientFailure`. Blocks."""
        ...


class AddressRemover(Protocol):
    """Removes addresses; see `sinks.push.address_removals.AddressRemovals`."""

    def remove(self, user: str, device_id: str, refused: PushDevice) -> object:
        """Removes a registration. Raises `TransientFailure`. Blocks."""
        ...


class _Line:
    """The deliveries of one destination."""

    def __init__(self) -> None:
        self.waiting: deque[PushDelivery] = deque()
        self.running = 0


def destination_of(address: PushAddress) -> str:
    """The server of an address: scheme, host and port."""
    parts = urlsplit(url_of(address))
    return f"{parts.scheme}://{parts.netloc.lower()}"


class PushDispatcher:
    """Runs deliveries. All methods run in one event loop.

    Args:
        tools: What all deliveries share.
        letters: Receives the notifications that are given up.
        remover: Removes addresses that do not exist any more.
    """

    def __init__(
        self, tools: DeliveryTools, letters: PushLetters, remover: AddressRemover
    ) -> None:
        self._tools = tools
        self._letters = letters
        self._remover = remover
        self._lines: defaultdict[str, _Line] = defaultdict(_Line)
        self._running: dict[PushDelivery, asyncio.Task[None]] = {}
        self.failure: BaseException | None = None
        """A failure of a delivery that is an error of the program."""

    def begin_due(self) -> None:
        """Begins the deliveries of the notifications that are due. Called at each tick."""
        for destination in list(self._lines):
            self._advance(destination)
        memory, now = self._tools.memory, self._tools.now()
        if memory.is_behind:
            return
        for key in memory.do(lambda planner: planner.due(now, MAX_DUE)):
            person = self._tools.people.person(key.user, now)
            offers = partial(_offers, key=key, person=person, now=now)
            for device_id in memory.do(offers):
                self._enter(PushTarget(key, device_id))

    async def drain(self, is_ours: Callable[[PushTarget], bool]) -> None:
        """Ends deliveries: waits for running requests within a bound, and gives the others up."""
        self._forget_waiting(is_ours)
        tasks: list[asyncio.Task[None]] = []
        for delivery, task in self._running.items():
            if is_ours(delivery.target):
                delivery.is_ending = True
                tasks.append(task)
                if not delivery.is_sending and not delivery.is_settling:
                    task.cancel()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=SENDING_SECONDS)
            for task in late:
                task.cancel()

    def cancel(self, is_ours: Callable[[PushTarget], bool]) -> None:
        """Gives deliveries up at once, without a note of their outcomes."""
        self._forget_waiting(is_ours)
        for delivery, task in self._running.items():
            if is_ours(delivery.target):
                task.cancel()

    def _forget_waiting(self, is_ours: Callable[[PushTarget], bool]) -> None:
        for line in self._lines.values():
            line.waiting = deque(each for each in line.waiting if not is_ours(each.target))

    def _enter(self, target: PushTarget) -> None:
        key, device_id = target
        device = self._tools.people.devices(key.user).get(device_id)
        if device is None:
            self._settle(target, None)
            return
        destination = destination_of(device.address)
        line = self._lines[destination]
        line.waiting.append(PushDelivery(self._tools, target, device))
        if len(line.waiting) > MAX_LINE:
            _line_log.warning("more than %d notifications wait for one server", MAX_LINE)
            self._start(destination, line.waiting.popleft(), is_given_up=True)
        self._advance(destination)

    def _advance(self, destination: str) -> None:
        line = self._lines[destination]
        most = MAX_RUNNING_OF_ONE if len(self._running) < MAX_RUNNING else 1
        while line.waiting and line.running < most:
            self._start(destination, line.waiting.popleft())
        if not line.waiting and not line.running:
            del self._lines[destination]

    def _start(
        self, destination: str, delivery: PushDelivery, *, is_given_up: bool = False
    ) -> None:
        self._lines[destination].running += 1
        task = asyncio.create_task(self._run(destination, delivery, is_given_up=is_given_up))
        self._running[delivery] = task
        task.add_done_callback(partial(self._ended, destination, delivery))

    async def _run(self, destination: str, delivery: PushDelivery, *, is_given_up: bool) -> None:
        seq: SeqId | None = None
        try:
            outcome = (
                delivery.given_up("too many notifications wait for the server")
                if is_given_up
                else await delivery.deliver(destination)
            )
            delivery.is_settling = True
            if outcome is not None and await self._note(delivery, outcome):
                seq = delivery.seq
        except DestinationFull:
            pass  # `_settle` makes the notification due again
        finally:
            self._settle(delivery.target, seq)

    async def _note(self, delivery: PushDelivery, outcome: DeliveryOutcome | Expired) -> bool:
        """Handles an outcome, and returns whether it is final."""
        match outcome:
            case Delivered() if delivery.message is not None:
                delay_ms = self._tools.now() - delivery.message.at
                delivery.metrics.acknowledged(delay_ms / 1000)
            case Gone():
                key, device_id = delivery.target
                refused = delivery.device
                await self._until_done(
                    delivery, lambda: self._remover.remove(key.user, device_id, refused)
                )
            case Expired() if not delivery.is_too_old():
                return False  # a newer message has taken the place of the message
            case Expired(reason=reason) | DeliveryRefused(reason=reason):
                await self._until_done(delivery, partial(self._letter, delivery, reason))
        return True

    def _letter(self, delivery: PushDelivery, reason: str) -> None:
        (key, device_id), message = delivery.target, delivery.message
        state = self._tools.memory.do(lambda planner: planner.state(key))
        if not state.waiting or message is None:
            return  # the person has read the conversation meanwhile
        given_up = GivenUpNotification(
            device_id=device_id, conv_id=key.conv_id, seq=message.seq, sender=message.sender,
            messages=message.messages, shard=state.shard, offset=state.offset,
        )  # fmt: skip
        self._letters.send(key.user, given_up, reason)
        delivery.metrics.dead_letter()

    async def _until_done(self, delivery: PushDelivery, call: Callable[[], object]) -> None:
        """Repeats a blocking call until it passes, or until the process ends.

        Raises:
            TransientFailure: The process ends.
        """
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.run_in_executor(self._tools.threads, call)
            except RetryableError as error:
                if delivery.is_ending:
                    raise
                _trouble.warning("waits: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    def _settle(self, target: PushTarget, seq: SeqId | None) -> None:
        key, device_id = target
        now = self._tools.now()
        person = self._tools.people.person(key.user, now)
        self._tools.memory.do(lambda planner: planner.settle(key, device_id, seq, person, now))

    def _ended(self, destination: str, delivery: PushDelivery, task: asyncio.Task[None]) -> None:
        del self._running[delivery]
        self._lines[destination].running -= 1
        if task.cancelled():
            return  # at the end of the loop, no other delivery may begin
        self._advance(destination)
        error = task.exception()
        if error is not None and not isinstance(error, TransientFailure):
            self.failure = error


def _offers(
    planner: PushPlanner, *, key: PushKey, person: PushPerson, now: Milliseconds
) -> list[str]:
    return planner.offers(key, person, now)
