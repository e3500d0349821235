"""What the sequencer remembers of a conversation, and the changes that it is made of.

| kept for each | what | changed by |
|---|---|---|
| conversation | owner, join rule, mode, last SeqId (`Head`) | `HeadMoved` |
| member | the SeqId at which their membership period began | `MemberJoined`, `MemberLeft` |
| (sender, device) | the 32 greatest accepted ids, with SeqId and digest | `IdAccepted` |
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from schemas.limits import DEDUP_WINDOW
from schemas.records import FanoutMode, JoinRule


class Head(Struct, frozen=True, array_like=True):
    """What a conversation is now. ``last_seq`` is the SeqId given last, 0 before the first."""

    owner: str
    join: JoinRule
    mode: FanoutMode
    last_seq: int


class Accepted(Struct, frozen=True, array_like=True, gc=False):
    """One accepted id: the place it takes in its window, its SeqId, a digest of its command."""

    slot: int
    seq: int
    digest: int


class HeadMoved(Struct, frozen=True, gc=False):
    """The conversation is now this."""

    head: Head


class MemberJoined(Struct, frozen=True, gc=False):
    """A membership period began with entry ``since``."""

    user: str
    since: int


class MemberLeft(Struct, frozen=True, gc=False):
    """A membership period ended."""

    user: str


class IdAccepted(Struct, frozen=True, gc=False):
    """A device's id was accepted; it replaces what its slot held."""

    sender: str
    device_id: str
    client_msg_id: str
    accepted: Accepted


Change: TypeAlias = HeadMoved | MemberJoined | MemberLeft | IdAccepted


class Window:
    """The greatest accepted ids of one (conversation, sender, device), oldest first.

    An id below a full window is not in it although it may have been accepted: that is what
    *stale* means. The smallest makes room, so all that were ever dropped are below all that are
    held, and an id above the smallest that is not held was never accepted.
    """

    __slots__ = ("ids",)

    def __init__(self, ids: dict[str, Accepted] | None = None) -> None:
        self.ids = {} if ids is None else ids

    def is_stale(self, client_msg_id: str) -> bool:
        """Whether the id is older than a full window."""
        return len(self.ids) >= DEDUP_WINDOW and client_msg_id < next(iter(self.ids))

    def free_slot(self) -> int:
        """The slot that the next accepted id takes: a free one, or the oldest one's."""
        if len(self.ids) < DEDUP_WINDOW:
            return len(self.ids)
        return next(iter(self.ids.values())).slot

    def accept(self, client_msg_id: str, accepted: Accepted) -> None:
        """Remembers an id that `free_slot` gave its slot; a full window drops its oldest."""
        ids = self.ids
        if len(ids) >= DEDUP_WINDOW:
            del ids[next(iter(ids))]
        arrived_late = bool(ids) and client_msg_id < next(reversed(ids))
        ids[client_msg_id] = accepted
        if arrived_late:
            self.ids = dict(sorted(ids.items()))

    def restore(self, client_msg_id: str, accepted: Accepted) -> None:
        """Remembers an id in place of the one that held its slot.

        A partly compacted log brings the slots in another order than they were taken in.
        """
        kept = [(id_, held) for id_, held in self.ids.items() if held.slot != accepted.slot]
        self.ids = dict(sorted([*kept, (client_msg_id, accepted)]))


class Conversation:
    """The state of one conversation. Reads are plain attributes; writes go through `apply`."""

    __slots__ = ("_members_in_order", "head", "members", "windows")

    def __init__(self) -> None:
        self.head: Head | None = None
        self.members: dict[str, int] = {}
        self.windows: dict[tuple[str, str], Window] = {}
        self._members_in_order: tuple[str, ...] | None = None

    def apply(self, change: Change) -> None:
        """Makes one change that was decided."""
        # isinstance and not match: this runs twice a message, and match takes four times as long.
        if isinstance(change, HeadMoved):
            self.head = change.head
        elif isinstance(change, IdAccepted):
            window = self.window(change.sender, change.device_id)
            window.accept(change.client_msg_id, change.accepted)
        else:
            self._members_in_order = None
            if isinstance(change, MemberJoined):
                self.members[change.user] = change.since
            else:
                self.members.pop(change.user, None)

    def restore(self, change: Change) -> None:
        """Makes one change out of a compacted log."""
        if isinstance(change, IdAccepted):
            window = self.window(change.sender, change.device_id)
            window.restore(change.client_msg_id, change.accepted)
        else:
            self.apply(change)

    def window(self, sender: str, device_id: str) -> Window:
        """The window of a device, made when it is first asked for."""
        key = (sender, device_id)
        window = self.windows.get(key)
        if window is None:
            window = self.windows[key] = Window()
        return window

    def recipients(self) -> tuple[str, ...]:
        """All members, in the order of their joining."""
        if self._members_in_order is None:
            self._members_in_order = tuple(self.members)
        return self._members_in_order
