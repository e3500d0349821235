"""Which command goes out next: order, windows, and what has to be sent again.

Pure: the time is an argument; no thread, no Kafka. One caller at a time.

    waiting --head/mark_sent--> sent --accept--> accepted --settle--> settled --clear--> (gone)
     ^  ^                        |                  |
     |  +--------rewind----------+                  |     `settle` is possible from everywhere
     +-----------------resend-----------------------+

Each conversation has a lane, whose commands leave strictly in order. Commands are sent again in
their order, too, and before all that wait: so the first copy of a command on the log is never
behind the first copy of a later one, and no copy makes the sequencer refuse a valid command.

A lane is held up while the author of its next command has as many under way as the window allows.
The commands of an author leave the outbox in their order, and a command is under way until it has
left. So the commands under way are all from the oldest without an outcome on: whatever is sent
again, now or after a restart, is among the ids that the sequencer remembers, however many later
ones have their outcome.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import Final, NamedTuple, TypeAlias

from producers.receipts import Receipt
from schemas.records import AnyCommand, AnyEntry, AnyReply

LOOK_SECONDS: Final = 0.5
"""How often the conversations are looked through for commands to send again."""

Author: TypeAlias = tuple[str, str, str, str]
"""(conversation, sender, device, installation): what the sequencer has a window of ids for."""

Identity: TypeAlias = tuple[str, str, str]
"""(conversation, sender, client_msg_id): what an entry says of its command."""


def identity_of(record: AnyCommand | AnyEntry | AnyReply) -> Identity:
    """What a command and all records of its outcome have in common."""
    return record.conv_id, record.sender, record.client_msg_id


def author_of(command: AnyCommand) -> Author:
    """Whose ids grow with this command's."""
    return command.conv_id, command.sender, command.device_id, command.installation or ""


class Resend(NamedTuple):
    """When commands without an outcome are sent again. The wait doubles each time.

    ``first``: seconds after the broker's acknowledgement. ``most``: the longest wait.
    """

    first: float = 10.0
    most: float = 300.0


class Stage(Enum):
    """Where a parcel is."""

    WAITING = auto()
    SENT = auto()
    ACCEPTED = auto()
    SETTLED = auto()


class Parcel:
    """One command under way.

    Attributes:
        identity: What an entry or a reply says of its command.
        position: Its place in the outbox.
        ordinal: Its place among the commands of its author, while there are any.
        key: The Kafka key.
        value: The encoded command.
        receipt: What its client holds of it.
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
        self.stage = Stage.WAITING


class _Lane:
    """The commands of one conversation that are not settled.

    ``due``: when the accepted ones are to be sent again. ``wait``: seconds from then to the next.
    """

    __slots__ = ("accepted", "due", "sent", "wait", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Parcel] = deque()
        self.sent: dict[int, Parcel] = {}  # by position, in the order of sending
        self.accepted: dict[int, Parcel] = {}
        self.due = self.wait = 0.0

    @property
    def is_empty(self) -> bool:
        return not self.waiting and not self.sent and not self.accepted


class _Row:
    """The commands of one author that have not left the outbox."""

    __slots__ = ("added", "cleared", "parcels")

    def __init__(self) -> None:
        self.parcels: deque[Parcel] = deque()  # from the oldest without an outcome on
        self.added = self.cleared = 0


class Backlog:
    """The commands that are not settled, and which may go next.

    Args:
        window: Commands under way for each author; None for as many as there are.
        resend: When commands without an outcome are sent again; None for never.
    """

    def __init__(self, window: int | None, resend: Resend | None = None) -> None:
        self._window = window
        self._resend = resend
        self._lanes: dict[str, _Lane] = {}
        self._ready: dict[str, None] = {}  # lanes that may send, taken in turn
        self._rows: dict[Author, _Row] = {}
        self.sent_count = 0
        self.accepted_count = 0
        self._next_look = 0.0

    def add(self, parcel: Parcel) -> None:
        """Puts a new command behind all others of its conversation."""
        lane = self._lanes.setdefault(parcel.conv_id, _Lane())
        lane.waiting.append(parcel)
        row = self._rows.setdefault(parcel.author, _Row())
        row.parcels.append(parcel)
        parcel.ordinal = row.added
        row.added += 1
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
        # To the end of the row: a busy conversation does not hold up the others.
        self._ready.pop(parcel.conv_id, None)
        self._look_at(parcel.conv_id)

    def accept(self, parcel: Parcel, now: float = 0.0) -> bool:
        """Notes that the broker has the command.

        Returns:
            Whether that is news: not if its outcome was observed first.
        """
        if parcel.stage is not Stage.SENT:
            return False
        lane = self._unsend(parcel)
        parcel.stage = Stage.ACCEPTED
        if self._resend is not None and not lane.accepted:
            lane.wait = lane.wait or self._resend.first
            lane.due = now + lane.wait
        lane.accepted[parcel.position] = parcel
        self.accepted_count += 1
        return True

    def settle(self, parcel: Parcel, now: float = 0.0) -> list[Parcel]:
        """Notes that the outcome of a command is known, wherever it is.

        Returns:
            What may leave the outbox by that, in order: nothing while an older command of the
            author has no outcome.
        """
        lane = self._lanes[parcel.conv_id]
        if parcel.stage is Stage.WAITING:  # sent by a producer that was given up, or again
            lane.waiting.remove(parcel)
        elif parcel.stage is Stage.SENT:
            self._unsend(parcel)
        else:
            is_oldest = next(iter(lane.accepted)) == parcel.position
            del lane.accepted[parcel.position]
            self.accepted_count -= 1
            if self._resend is not None and is_oldest:
                lane.wait = self._resend.first
                lane.due = now + lane.wait
        parcel.stage = Stage.SETTLED
        self._look_at(parcel.conv_id)
        return self._leaving(self._rows[parcel.author].parcels)

    def clear(self, parcel: Parcel) -> None:
        """Forgets a settled command that has left the outbox: no crash can send it again."""
        row = self._rows[parcel.author]
        row.cleared += 1
        if row.cleared == row.added:
            del self._rows[parcel.author]
        self._look_at(parcel.conv_id)

    def rewind(self) -> None:
        """Takes back, in order, all that was sent and not acknowledged: the producer is gone."""
        for conv_id, lane in self._lanes.items():
            self._take_back(conv_id, lane, lane.sent)
        self.sent_count = 0
        for conv_id in list(self._lanes):
            self._look_at(conv_id)

    def resend(self, now: float) -> int:
        """Takes back, in order, what the broker has had for too long without an outcome.

        Returns:
            How many commands that are.
        """
        if self._resend is None or not self.accepted_count or now < self._next_look:
            return 0
        self._next_look = now + LOOK_SECONDS
        late = [
            (conv_id, lane)
            for conv_id, lane in self._lanes.items()
            if lane.accepted and lane.due <= now
        ]
        count = self.accepted_count
        for conv_id, lane in late:
            self.accepted_count -= len(lane.accepted)
            self._take_back(conv_id, lane, lane.accepted)
            lane.wait = min(2 * lane.wait, self._resend.most)
            self._look_at(conv_id)
        return count - self.accepted_count

    def _take_back(self, conv_id: str, lane: _Lane, parcels: dict[int, Parcel]) -> None:
        for parcel in parcels.values():
            parcel.stage = Stage.WAITING
        # By position: what is sent again may be older or younger than what waits already.
        lane.waiting = deque(
            sorted([*parcels.values(), *lane.waiting], key=lambda parcel: parcel.position)
        )
        parcels.clear()
        self._ready.pop(conv_id, None)

    def _unsend(self, parcel: Parcel) -> _Lane:
        lane = self._lanes[parcel.conv_id]
        del lane.sent[parcel.position]
        self.sent_count -= 1
        return lane

    def _look_at(self, conv_id: str) -> None:
        """Whether the lane may send, after something has changed in it."""
        lane = self._lanes.get(conv_id)
        if lane is None:
            return
        if lane.waiting and not self._is_held_up(lane.waiting[0]):
            self._ready.setdefault(conv_id)
            return
        self._ready.pop(conv_id, None)
        if lane.is_empty:
            del self._lanes[conv_id]

    def _is_held_up(self, parcel: Parcel) -> bool:
        if self._window is None:
            return False
        return parcel.ordinal - self._rows[parcel.author].cleared >= self._window

    @staticmethod
    def _leaving(parcels: deque[Parcel]) -> list[Parcel]:
        leaving = []
        while parcels and parcels[0].stage is Stage.SETTLED:
            leaving.append(parcels.popleft())
        return leaving
