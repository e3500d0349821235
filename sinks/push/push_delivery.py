"""The delivery of one notification: the last checks, the content, the attempts, the outcome."""

from __future__ import annotations

import asyncio
import random
from base64 import urlsafe_b64encode
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from hashlib import sha256
from typing import Final, NamedTuple, Protocol

from msgspec.structs import replace

from schemas.codec import encode
from schemas.errors import ServerUnavailable
from schemas.number_types import NO_SEQ, Milliseconds, SeqId
from schemas.push_devices import PushDevice
from schemas.push_settings import PushContent
from schemas.unread import Counted, unread
from sinks.outbound.destination_sender import DestinationSender, Expired
from sinks.outbound.outbound_metrics import ReceiverMetrics
from sinks.outbound.outcomes import DeliveryOutcome, DeliveryRefused
from sinks.push.provider_port import Notification, Provider
from sinks.push.push_drops import DropReason
from sinks.push.push_memory import PushMemory
from sinks.push.push_metrics import PushMetrics
from sinks.push.push_people import PushPeople
from sinks.push.push_state import (
    PushKey,
    PushState,
    WaitingMessage,
    read_up_to,
    recalled,
    without_waiting,
)
from sinks.push.stored_facts import StoredFacts

STORE_LAG_SECONDS: Final = 15.0
"""Maximum wait until the store has a message, and until it agrees that a mute has ended. A
notification then goes out without a text; a mute that the store still has then counts."""

_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0
_ID_BYTES: Final = 24

_NO_FACTS: Final = StoredFacts(
    mark=Counted(NO_SEQ, 0), text=None, is_recalled=False, muted_until=Milliseconds(0)
)


class FactsReader(Protocol):
    """Reads from the store; see `sinks.push.stored_facts.StoredFactsReader`."""

    def read(self, key: PushKey, seq: SeqId) -> StoredFacts:
        """The facts about a message. Raises `ServerUnavailable`. Blocks."""
        ...


class PushRules(NamedTuple):
    """What is pushed, and for how long. ``max_age`` in milliseconds."""

    content: PushContent
    max_age: Milliseconds


class DeliveryTools(NamedTuple):
    """What all deliveries share.

    ``threads`` run the queries to the store. ``now`` is the time in milliseconds since 1970.
    """

    memory: PushMemory
    people: PushPeople
    provider: Provider
    sender: DestinationSender
    facts: FactsReader
    threads: Executor
    rules: PushRules
    now: Callable[[], Milliseconds]
    metrics: PushMetrics


class PushTarget(NamedTuple):
    """A device of a person, and a conversation."""

    key: PushKey
    device_id: str


class _NotNeeded(Exception):
    """No notification is needed any more, so there is no attempt."""


class _Ready(NamedTuple):
    message: WaitingMessage
    facts: StoredFacts


def notification_id(target: PushTarget, seq: SeqId) -> str:
    """The same for the same (person, device, conversation, SeqId), in every process."""
    digest = sha256(encode([*target.key, target.device_id, seq])).digest()[:_ID_BYTES]
    return urlsafe_b64encode(digest).decode()


class PushDelivery:
    """One delivery to one device.

    Each attempt checks again whether it has a reason, and is about the newest message.

    Args:
        tools: What all deliveries share.
        target: The device and the conversation.
        device: The registration of the device.
    """

    def __init__(self, tools: DeliveryTools, target: PushTarget, device: PushDevice) -> None:
        self._tools = tools
        self.device = device
        self._ready: _Ready | None = None
        self._known = _NO_FACTS
        self.target = target
        self.message: WaitingMessage | None = None
        """The message of the last attempt; None if the last check found no reason."""
        self.is_sending = False
        """Whether a request is running whose outcome is not known."""
        self.is_ending = False
        """Set to give up after the running attempt."""
        self.is_settling = False
        """Whether there is an outcome that is not noted yet."""

    async def deliver(self, destination: str) -> DeliveryOutcome | Expired | None:
        """Delivers until there is an outcome; None if no notification is needed any more.

        Raises:
            DestinationFull: The destination takes no more deliveries now.
        """
        message = self._check()
        if message is None:
            return None
        if self.is_too_old():
            return Expired("no attempt within the maximum age")
        deadline = self._deadline(message)
        if not await self._prepare(deadline):
            return None if self.message is None else Expired("the store does not answer")
        try:
            return await self._tools.sender.send(
                destination, self._attempt, deadline, self.metrics
            )
        except _NotNeeded:
            return None

    @property
    def metrics(self) -> ReceiverMetrics:
        """The metrics of the provider of the device."""
        return self._tools.metrics.of(self.device.address)

    @property
    def seq(self) -> SeqId | None:
        """The SeqId of the message."""
        return None if self.message is None else self.message.seq

    def given_up(self, reason: str) -> DeliveryRefused | None:
        """The outcome without an attempt; None if no notification is needed any more."""
        return None if self._check() is None else DeliveryRefused(reason)

    def is_too_old(self) -> bool:
        """Whether no more attempt is made for the message."""
        message, max_age = self.message, self._tools.rules.max_age
        return message is not None and self._tools.now() >= message.at + max_age

    def _check(self) -> WaitingMessage | None:
        (key, device_id), tools = self.target, self._tools
        person = tools.people.person(key.user, tools.now())
        self.message = None
        if not self.is_ending and tools.people.devices(key.user).get(device_id) == self.device:
            self.message = tools.memory.do(lambda planner: planner.check(key, device_id, person))
        return self.message

    def _deadline(self, message: WaitingMessage) -> float:
        """The time of the last attempt, on the clock of the event loop."""
        left = message.at + self._tools.rules.max_age - self._tools.now()
        return asyncio.get_running_loop().time() + left / 1000

    async def _prepare(self, deadline: float) -> bool:
        """Waits until the store has the facts, and returns whether it has."""
        loop = asyncio.get_running_loop()
        pause, begun = _FIRST_PAUSE_SECONDS, loop.time()
        while (message := self._check()) is not None and loop.time() < deadline:
            is_late = loop.time() - begun > STORE_LAG_SECONDS
            with suppress(ServerUnavailable):
                facts = await self._facts(message)
                if self._is_usable(message, facts, is_late=is_late):
                    self._ready = _Ready(message, facts)
                    return True
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - no secret
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        return False

    def _is_usable(self, message: WaitingMessage, facts: StoredFacts, *, is_late: bool) -> bool:
        if facts.is_recalled:
            self._change(partial(recalled, seq=message.seq), "recalled")
            return False
        if facts.mark.seq >= message.seq or facts.has_left:
            self._change(partial(read_up_to, seq=message.seq), "read")
            return False
        if message.at < facts.muted_until:
            if is_late:  # the mute is from before the first record that this stage has read
                self._change(without_waiting, "muted")
            return False
        return facts.text is not None or is_late or self._tools.rules.content != "text"

    def _change(self, change: Callable[[PushState], PushState], reason: DropReason) -> None:
        key, now = self.target.key, self._tools.now()
        self._tools.memory.do(lambda planner: planner.change(key, change, reason, now))

    async def _facts(self, message: WaitingMessage) -> StoredFacts:
        tools, key = self._tools, self.target.key
        return await asyncio.get_running_loop().run_in_executor(
            tools.threads, tools.facts.read, key, message.seq
        )

    async def _attempt(self) -> DeliveryOutcome:
        while (message := self._check()) is not None:
            facts = await self._facts_of_attempt(message)
            if not facts.is_recalled:
                return await self._send(self._notification(message, facts))
            self._change(partial(recalled, seq=message.seq), "recalled")
        raise _NotNeeded

    async def _send(self, notification: Notification) -> DeliveryOutcome:
        self.is_sending = True
        try:
            return await self._tools.provider.deliver(self.device.address, notification)
        finally:
            self.is_sending = False

    async def _facts_of_attempt(self, message: WaitingMessage) -> StoredFacts:
        """The prepared facts in the first attempt; later, facts that are read again.

        Without an answer, the last known facts are used: a failure of the store is not a failure
        of the destination.
        """
        ready, self._ready = self._ready, None
        if ready is not None and ready.message == message:
            self._known = ready.facts
            return ready.facts
        try:
            self._known = await self._facts(message)
        except ServerUnavailable:
            return replace(self._known, text=None)
        return self._known

    def _notification(self, message: WaitingMessage, facts: StoredFacts) -> Notification:
        content, (key, device_id) = self._tools.rules.content, self.target
        end = Counted(message.seq, message.messages)
        return Notification(
            id=notification_id(self.target, message.seq),
            user_id=key.user,
            device_id=device_id,
            conv_id=key.conv_id,
            seq=message.seq,
            sender=None if content == "nothing" else message.sender,
            text=facts.text if content == "text" else None,
            unread=max(1, unread(end, facts.mark)),
            at=message.at,
        )
