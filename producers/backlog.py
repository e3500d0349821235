"""Which command goes out next: order, windows, and what comes back when a producer is given up.

Pure: no clock, no thread, no Kafka. One caller at a time.

    waiting --head/mark_sent--> sent --accept--> accepted --settle--> settled --clear--> (gone)
       ^                          |
       +---------rewind-----------+          `settle` is possible from everywhere

Each conversation has a lane, whose commands leave strictly in order. A lane is held up while the
author of its next command has as many under way as the window allows. A command is under way
until it is cleared from the outbox, and not only until its outcome is known: a crash in between
sends it again. So whatever is ever sent again is among the ids that the sequencer remembers.
"""

from __future__ import annotations

from collections import Counter, deque
from enum import Enum, auto
from typing import TypeAlias

from producers.receipts import Receipt
from schemas.records import AnyCommand, AnyEntry, AnyReply

Author: TypeAlias = tuple[str, str, str]
"""(conversation, sender, device): what the sequencer's window of ids is kept for."""

Identity: TypeAlias = tuple[str, str, str]
"""(conversation, sender, client_msg_id): what an entry tells of its command."""


def identity_of(record: AnyCommand | AnyEntry | AnyReply) -> Identity:
    """What a command and everything that tells of it have in common."""
    return record.conv_id, record.sender, record.client_msg_id


class Stage(Enum):
    """Where a parcel is."""

    WAITING = auto()
    SENT = auto()
    ACCEPTED = auto()
    SETTLED = auto()


class Parcel:
    """One command under way.

    Attributes:
        identity: What an entry or a reply tells of its command.
        position: Its place in the outbox.
        key: The Kafka key.
        value: The encoded command.
        receipt: What its client holds of it.
    """

    __slots__ = ("author", "conv_id", "identity", "key", "position", "receipt", "stage", "value")

    def __init__(self, position: int, command: AnyCommand, value: bytes, receipt: Receipt) -> None:
        self.identity = identity_of(command)
        self.position = position
        self.conv_id = command.conv_id
        self.key = command.conv_id.encode()
        self.author: Author = (command.conv_id, command.sender, command.device_id)
        self.value = value
        self.receipt = receipt
        self.stage = Stage.WAITING


class _Lane:
    """The commands of one conversation that the broker has not acknowledged."""

    __slots__ = ("sent", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Parcel] = deque()
        self.sent: dict[int, Parcel] = {}  # by position, in the order of sending


class Backlog:
    """The commands that are not settled, and which may go next.

    Args:
        window: Unsettled commands under way for each author; None for as many as there are.
    """

    def __init__(self, window: int | None) -> None:
        self._window = window
        self._lanes: dict[str, _Lane] = {}
        self._ready: dict[str, None] = {}  # lanes that may send, taken in turn
        self._under_way: Counter[Author] = Counter()
        self.sent_count = 0

    def add(self, parcel: Parcel) -> None:
        """Puts a new command behind all others of its conversation."""
        lane = self._lanes.setdefault(parcel.conv_id, _Lane())
        lane.waiting.append(parcel)
        self._look_at(parcel.conv_id)

    def head(self) -> Parcel | None:
        """The command to send next, if any may be sent."""
        for conv_id in self._ready:
            return self._lanes[conv_id].waiting[0]
        return None

    def mark_sent(self, parcel: Parcel) -> None:
        """Notes that the producer has taken the command that `head` returned."""
        lane = self._lanes[parcel.conv_id]
        lane.waiting.popleft()
        lane.sent[parcel.position] = parcel
        parcel.stage = Stage.SENT
        self.sent_count += 1
        self._under_way[parcel.author] += 1
        # To the end of the row: a busy conversation does not hold up the others.
        self._ready.pop(parcel.conv_id, None)
        self._look_at(parcel.conv_id)

    def accept(self, parcel: Parcel) -> bool:
        """Notes that the broker has the command.

        Returns:
            Whether that is news: not if its outcome was observed first.
        """
        if parcel.stage is not Stage.SENT:
            return False
        self._unsend(parcel)
        parcel.stage = Stage.ACCEPTED
        self._look_at(parcel.conv_id)
        return True

    def settle(self, parcel: Parcel) -> None:
        """Notes that the outcome of a command is known, wherever it is."""
        if parcel.stage is Stage.WAITING:  # sent by a producer that was given up
            self._lanes[parcel.conv_id].waiting.remove(parcel)
            self._under_way[parcel.author] += 1
        elif parcel.stage is Stage.SENT:
            self._unsend(parcel)
        parcel.stage = Stage.SETTLED
        self._look_at(parcel.conv_id)

    def clear(self, parcel: Parcel) -> None:
        """Forgets a settled command that has left the outbox: no crash can send it again."""
        self._leave(parcel)
        self._look_at(parcel.conv_id)

    def rewind(self) -> None:
        """Takes back, in order, all that was sent and not acknowledged: the producer is gone."""
        for conv_id, lane in self._lanes.items():
            for parcel in reversed(lane.sent.values()):
                parcel.stage = Stage.WAITING
                lane.waiting.appendleft(parcel)
                self._leave(parcel)
            lane.sent.clear()
            self._ready.pop(conv_id, None)
        self.sent_count = 0
        for conv_id in list(self._lanes):
            self._look_at(conv_id)

    def _unsend(self, parcel: Parcel) -> None:
        del self._lanes[parcel.conv_id].sent[parcel.position]
        self.sent_count -= 1

    def _leave(self, parcel: Parcel) -> None:
        self._under_way[parcel.author] -= 1
        if not self._under_way[parcel.author]:
            del self._under_way[parcel.author]

    def _look_at(self, conv_id: str) -> None:
        """Whether the lane may send, after something has changed in it."""
        lane = self._lanes.get(conv_id)
        if lane is None:
            return
        if lane.waiting and not self._is_held_up(lane.waiting[0]):
            self._ready.setdefault(conv_id)
            return
        self._ready.pop(conv_id, None)
        if not lane.waiting and not lane.sent:
            del self._lanes[conv_id]

    def _is_held_up(self, parcel: Parcel) -> bool:
        return self._window is not None and self._under_way[parcel.author] >= self._window
