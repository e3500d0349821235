"""Finds the outcome of a command on the log that the gateway follows.

Each copy of a command on ``im.messages`` has exactly one outcome: an entry on ``im.timeline``, or
a reply to its sender on ``im.sync``. Two copies can have different outcomes under one id: a copy
with other content is a ``conflict``. The broker's timestamp tells the copies apart: the
acknowledgement of a copy has the timestamp, and the outcome of the copy repeats it as ``at``.
`CommandWriter` sends no two copies of an id within one millisecond.

A gateway that has not read an outcome answers that the command is pending; it never guesses.

For one event loop. `OutcomeTail` also calls from the thread that follows the log.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from typing import Final, Literal, NamedTuple, TypeAlias

from schemas.errors import RejectionCode
from schemas.number_types import Milliseconds, SeqId
from schemas.records import AnyCommand, OutcomeFields

LATE_SECONDS: Final = 600.0
"""How long a command is remembered after a response that does not have its outcome."""

MAX_LATE: int = 10_000
"""Maximum number of these commands: some 10 MB. The oldest is forgotten first."""

_MAX_EARLY: Final = 16
"""Outcomes of other copies that are held until the acknowledgement arrives."""

OutcomeKind: TypeAlias = Literal["accepted", "duplicate", "read", "muted", "rejected"]

_REPLIES: Final[dict[str, OutcomeKind]] = {
    "rejected": "rejected",
    "duplicate": "duplicate",
    "read_marked": "read",
    "conversation_muted": "muted",
}

CommandKey: TypeAlias = tuple[str, str, str]
"""(conversation, sender, client_msg_id)."""


class Outcome(NamedTuple):
    """The decision of the sequencer about one copy of a command.

    ``kind``: ``accepted`` (a new entry ``seq``), ``read`` (the read mark is at ``seq``),
    ``muted`` (while the head was ``seq``),
    ``duplicate`` (an earlier copy became entry ``seq``, or the mark was there) or ``rejected``
    (with a ``code``). ``at``: the broker's time of this copy.
    """

    kind: OutcomeKind
    seq: SeqId
    at: Milliseconds
    code: RejectionCode | None = None


def key_of(command: AnyCommand) -> CommandKey:
    """The key of a command, which is also in every record of its outcome."""
    return command.conv_id, command.sender, command.client_msg_id


class OutcomeWaiter:
    """The wait for the outcome of one copy of a command.

    Attributes:
        outcome: Completes with the outcome.
        delivered: Completes with True when the broker has acknowledged the copy, with False when
            the producer gives up: the broker may have the copy, but no acknowledgement follows.
        settled: Completes with the outcome, or when the producer gives up.
    """

    def __init__(self, command: AnyCommand) -> None:
        self.key = key_of(command)
        loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[Outcome] = loop.create_future()
        self.delivered: asyncio.Future[bool] = loop.create_future()
        self.settled: asyncio.Future[None] = loop.create_future()
        self._device_id = command.device_id
        self._at: Milliseconds | None = None
        self._early: list[OutcomeFields] = []

    def acknowledge(self, at: Milliseconds | None) -> None:
        """Notes that the broker has the copy, with this time; None if the time is not known."""
        self.delivered.set_result(True)
        self._at = at
        early, self._early = self._early, []
        for fields in early:
            self.offer(fields)

    def give_up(self) -> None:
        """Notes that no acknowledgement follows."""
        self.delivered.set_result(False)
        self.settled.set_result(None)

    def offer(self, fields: OutcomeFields) -> None:
        """Takes an outcome of the same key, if the outcome is that of this copy."""
        if self.outcome.done():
            return
        if not self.delivered.done():
            if len(self._early) < _MAX_EARLY:
                self._early.append(fields)
        elif fields.at == self._at and fields.device_id in {"", self._device_id}:
            self.outcome.set_result(_outcome(fields))
            self.settled.set_result(None)


def _outcome(fields: OutcomeFields) -> Outcome:
    kind = _REPLIES.get(fields.kind, "accepted")
    return Outcome(kind, fields.seq, fields.at, fields.code)


class OutcomeWaiters:
    """All commands of one gateway whose outcome somebody waits for, or may ask for later.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: defaultdict[CommandKey, list[OutcomeWaiter]] = defaultdict(list)
        self._conversations: Counter[bytes] = Counter()
        self._senders: Counter[bytes] = Counter()
        self._late: OrderedDict[CommandKey, tuple[OutcomeWaiter, float]] = OrderedDict()

    def __len__(self) -> int:
        """The number of keys for which a request waits, or which are remembered."""
        return len(self._waiting)

    def register(self, command: AnyCommand) -> OutcomeWaiter:
        """Begins a wait. Called before the command is sent, so that no outcome is missed."""
        waiter = OutcomeWaiter(command)
        self._waiting[waiter.key].append(waiter)
        self._conversations[waiter.key[0].encode()] += 1
        self._senders[waiter.key[1].encode()] += 1
        return waiter

    def undelivered(self, key: CommandKey) -> OutcomeWaiter | None:
        """A copy of the command that is still on its way to the broker."""
        for waiter in self._waiting.get(key, ()):
            if not waiter.delivered.done():
                return waiter
        return None

    def remove(self, waiter: OutcomeWaiter) -> None:
        """Ends a wait."""
        waiters = self._waiting[waiter.key]
        waiters.remove(waiter)
        if not waiters:
            del self._waiting[waiter.key]
        _subtract(self._conversations, waiter.key[0].encode())
        _subtract(self._senders, waiter.key[1].encode())

    def remember(self, waiter: OutcomeWaiter) -> None:
        """Ends a request without an outcome. `late` finds the command for `LATE_SECONDS`."""
        before = self._late.pop(waiter.key, None)
        if before is not None:
            self.remove(before[0])
        self._late[waiter.key] = waiter, self._clock() + LATE_SECONDS
        while self._late:
            key, (oldest, until) = next(iter(self._late.items()))
            if len(self._late) <= MAX_LATE and until > self._clock():
                break
            del self._late[key]
            self.remove(oldest)

    def late(self, key: CommandKey) -> OutcomeWaiter | None:
        """The command that was remembered under this key; None if there is none, or no longer."""
        waiter, until = self._late.get(key, (None, 0.0))
        return waiter if until > self._clock() else None

    def offer(self, outcomes: Iterable[OutcomeFields]) -> None:
        """Passes outcomes from the log to the waits that they concern, in the order of the log."""
        for fields in outcomes:
            key = fields.conv_id, fields.sender, fields.client_msg_id
            for waiter in self._waiting.get(key, ()):
                waiter.offer(fields)

    def concerns_conversation(self, key: bytes) -> bool:
        """Whether a command of this conversation waits. Called from any thread."""
        return key in self._conversations

    def concerns_sender(self, key: bytes) -> bool:
        """Whether a command of this person waits. Called from any thread."""
        return key in self._senders


def _subtract(counts: Counter[bytes], name: bytes) -> None:
    counts[name] -= 1
    if not counts[name]:
        del counts[name]
