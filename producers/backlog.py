"""Decides which command is sent next: order, windows, and repeats.

Pure: the time is an argument; no thread, no Kafka. Not thread-safe.

    waiting --head/mark_sent--> sent --accept--> accepted --settle--> settled --clear--> (gone)
     ^  ^                        |                  |
     |  +--------rewind----------+                  |     `settle` is possible from every stage
     +-----------------resend-----------------------+

Each conversation has a queue, whose commands are sent strictly in order. Repeated commands keep
this order, too, and go before all waiting ones. So the first copy of a command on the log is never
after the first copy of a later command, and no copy makes the sequencer reject a valid command.

A command is in flight from its sending until it leaves the outbox, and the commands of an author
leave the outbox in order. So the oldest command without an outcome, and all commands after it, are
in flight. A queue is blocked while the author of its next command has as many commands in flight
as the window allows: the number of ids that the sequencer remembers of one device. So the
sequencer still remembers the id of every repeated command, also after a restart.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import Final, NamedTuple, TypeAlias

from producers.receipts import Receipt
from schemas.records import AnyCommand, AnyEntry, AnyReply

BACKLOG_CHECK_SECONDS: Final = 0.5
"""Interval at which the conversations are searched for commands to send again."""

Author: TypeAlias = tuple[str, str, str, str]
"""(conversation, sender, device, installation): the sequencer has one window of ids for each."""

Identity: TypeAlias = tuple[str, str, str]
"""(conversation, sender, client_msg_id): identifies the command of an entry or a reply."""


def identity_of(record: AnyCommand | AnyEntry | AnyReply) -> Identity:
    """Return the identity that a command and all records of its outcome share."""
    return record.conv_id, record.sender, record.client_msg_id


def author_of(command: AnyCommand) -> Author:
    """Return the author of a command; ids grow within one author."""
    return command.conv_id, command.sender, command.device_id, command.installation or ""


class Resend(NamedTuple):
    """When commands without an outcome are sent again. The wait doubles each time.

    ``first``: seconds after the broker's acknowledgement. ``most``: the longest wait, in seconds.
    """

    first: float = 10.0
    most: float = 300.0


class ParcelStage(Enum):
    """The stage of a parcel."""

    WAITING = auto()
    SENT = auto()
    ACCEPTED = auto()
    SETTLED = auto()


class Parcel:
    """One command in flight.

    Attributes:
        identity: The identity of the command, as an entry or a reply contains it.
        position: Its position in the outbox.
        ordinal: Its number among the commands of its author, from 0 in each `_Row`.
        key: The Kafka key.
        value: The encoded command.
        receipt: The receipt that the client holds.
    """

    __slots__ = (
        "author",
        "conv_id",
        "identity",
        "key",
        "ordinal",
        "position",
        "receipt",
        "stage",
        "value",
    )

    def __init__(self, position: int, command: AnyCommand, value: bytes, receipt: Receipt) -> None:
        self.identity = identity_of(command)
        self.position = position
        self.conv_id = command.conv_id
        self.key = command.conv_id.encode()
        self.author = author_of(command)
        self.ordinal = 0
        self.value = value
        self.receipt = receipt
        self.stage = ParcelStage.WAITING


class _ConversationQueue:
    """The unsettled commands of one conversation.

    ``resend_at``: when the accepted ones are sent again. ``wait``: seconds from one resend to the
    next.
    """

    __slots__ = ("accepted", "resend_at", "sent", "wait", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Parcel] = deque()
        self.sent: dict[int, Parcel] = {}  # by position, in sending order
        self.accepted: dict[int, Parcel] = {}
        self.resend_at = self.wait = 0.0

    @property
    def is_empty(self) -> bool:
        return not self.waiting and not self.sent and not self.accepted


class _Row:
    """The commands of one author that are still in the outbox."""

    __slots__ = ("added", "cleared", "parcels")

    def __init__(self) -> None:
        self.parcels: deque[Parcel] = deque()  # from the oldest command without an outcome
        self.added = self.cleared = 0


class Backlog:
    """The unsettled commands, and the choice of the next one.

    Args:
        window: Maximum number of commands in flight for each author; None: no bound.
        resend: When commands without an outcome are sent again; None: never.
    """

    def __init__(self, window: int | None, resend: Resend | None = None) -> None:
        self._window = window
        self._resend = resend
        self._queues: dict[str, _ConversationQueue] = {}
        self._ready: dict[str, None] = {}  # queues that may send, round-robin
        self._rows: dict[Author, _Row] = {}
        self.sent_count = 0
        self.accepted_count = 0
        self._next_check = 0.0

    def add(self, parcel: Parcel) -> None:
        """Append a new command to its conversation."""
        queue = self._queues.setdefault(parcel.conv_id, _ConversationQueue())
        queue.waiting.append(parcel)
        row = self._rows.setdefault(parcel.author, _Row())
        row.parcels.append(parcel)
        parcel.ordinal = row.added
        row.added += 1
        self._update_ready(parcel.conv_id)

    def head(self) -> Parcel | None:
        """Return the command to send next, if any may be sent."""
        for conv_id in self._ready:
            return self._queues[conv_id].waiting[0]
        return None

    def mark_sent(self, parcel: Parcel) -> None:
        """Note that the producer has accepted the command that `head` returned."""
        queue = self._queues[parcel.conv_id]
        queue.waiting.popleft()
        queue.sent[parcel.position] = parcel
        parcel.stage = ParcelStage.SENT
        self.sent_count += 1
        # Round-robin: a busy conversation does not delay the others.
        self._ready.pop(parcel.conv_id, None)
        self._update_ready(parcel.conv_id)

    def accept(self, parcel: Parcel, now: float = 0.0) -> bool:
        """Note that the broker has acknowledged the command.

        Returns:
            Whether the command was sent and unacknowledged; False if its outcome came first.
        """
        if parcel.stage is not ParcelStage.SENT:
            return False
        queue = self._unsend(parcel)
        parcel.stage = ParcelStage.ACCEPTED
        if self._resend is not None and not queue.accepted:
            queue.wait = queue.wait or self._resend.first
            queue.resend_at = now + queue.wait
        queue.accepted[parcel.position] = parcel
        self.accepted_count += 1
        return True

    def settle(self, parcel: Parcel, now: float = 0.0) -> list[Parcel]:
        """Note that the outcome of a command is known, at any stage.

        Returns:
            The commands that may leave the outbox now, in order: none while an older command of
            the author has no outcome.
        """
        queue = self._queues[parcel.conv_id]
        # A waiting parcel was rewound or resent: an earlier copy has the outcome.
        if parcel.stage is ParcelStage.WAITING:
            queue.waiting.remove(parcel)
        elif parcel.stage is ParcelStage.SENT:
            self._unsend(parcel)
        else:
            is_oldest = next(iter(queue.accepted)) == parcel.position
            del queue.accepted[parcel.position]
            self.accepted_count -= 1
            if self._resend is not None and is_oldest:
                queue.wait = self._resend.first
                queue.resend_at = now + queue.wait
        parcel.stage = ParcelStage.SETTLED
        self._update_ready(parcel.conv_id)
        return self._leaving(self._rows[parcel.author].parcels)

    def clear(self, parcel: Parcel) -> None:
        """Forget a settled command that left the outbox: a crash cannot send it again."""
        row = self._rows[parcel.author]
        row.cleared += 1
        if row.cleared == row.added:
            del self._rows[parcel.author]
        self._update_ready(parcel.conv_id)

    def rewind(self) -> None:
        """Return all sent, unacknowledged commands to waiting, in order: the producer failed."""
        for conv_id, queue in self._queues.items():
            self._take_back(conv_id, queue, queue.sent)
        self.sent_count = 0
        for conv_id in list(self._queues):
            self._update_ready(conv_id)

    def resend(self, now: float) -> int:
        """Return commands to waiting, in order, that were accepted too long ago without outcome.

        Returns:
            The number of these commands.
        """
        if self._resend is None or not self.accepted_count or now < self._next_check:
            return 0
        self._next_check = now + BACKLOG_CHECK_SECONDS
        late = [
            (conv_id, queue)
            for conv_id, queue in self._queues.items()
            if queue.accepted and queue.resend_at <= now
        ]
        count = self.accepted_count
        for conv_id, queue in late:
            self.accepted_count -= len(queue.accepted)
            self._take_back(conv_id, queue, queue.accepted)
            queue.wait = min(2 * queue.wait, self._resend.most)
            self._update_ready(conv_id)
        return count - self.accepted_count

    def _take_back(
        self, conv_id: str, queue: _ConversationQueue, parcels: dict[int, Parcel]
    ) -> None:
        for parcel in parcels.values():
            parcel.stage = ParcelStage.WAITING
        # By position: a repeated command may be older or newer than the waiting ones.
        queue.waiting = deque(
            sorted([*parcels.values(), *queue.waiting], key=lambda parcel: parcel.position)
        )
        parcels.clear()
        self._ready.pop(conv_id, None)

    def _unsend(self, parcel: Parcel) -> _ConversationQueue:
        queue = self._queues[parcel.conv_id]
        del queue.sent[parcel.position]
        self.sent_count -= 1
        return queue

    def _update_ready(self, conv_id: str) -> None:
        """Update whether the queue may send, after a change in the queue."""
        queue = self._queues.get(conv_id)
        if queue is None:
            return
        if queue.waiting and not self._is_blocked(queue.waiting[0]):
            self._ready.setdefault(conv_id)
            return
        self._ready.pop(conv_id, None)
        if queue.is_empty:
            del self._queues[conv_id]

    def _is_blocked(self, parcel: Parcel) -> bool:
        if self._window is None:
            return False
        return parcel.ordinal - self._rows[parcel.author].cleared >= self._window

    @staticmethod
    def _leaving(parcels: deque[Parcel]) -> list[Parcel]:
        leaving = []
        while parcels and parcels[0].stage is ParcelStage.SETTLED:
            leaving.append(parcels.popleft())
        return leaving
