"""What the sequencer remembers of a conversation, and the changes that it is made of.

| kept for each | what | changed by |
|---|---|---|
| conversation | owner, rules, mode, last SeqId, number of messages | a new `Head` |
| member | the SeqId at which their membership period began | `MemberJoined`, `MemberLeft` |
| member | up to where they said that they have read | `MemberRead`, `MarkForgotten` |
| (sender, device) | the 32 greatest accepted ids, with SeqId and digest | `Window.accept` |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from msgspec import Struct

from schemas.limits import DEDUP_WINDOW
from schemas.records import FanoutMode, HistoryRule, JoinRule

PAGE_SLOTS: Final = 8
"""Slots of a window that one state record holds.

More make fewer records where a device sends much, and larger ones where it sends little.
"""


PAGES: Final = DEDUP_WINDOW // PAGE_SLOTS


class Head(Struct, frozen=True, array_like=True):
    """What a conversation is now. ``last_seq`` is the SeqId given last, 0 before the first.

    ``messages`` is how many of its entries are messages. What comes last has a default: states
    were kept before there was a history rule, and before messages were counted.
    """

    owner: str
    join: JoinRule
    mode: FanoutMode
    last_seq: int
    history: HistoryRule = "since_join"
    messages: int = 0


class Accepted(Struct, frozen=True, array_like=True, gc=False):
    """One accepted id: the place it takes in its window, its SeqId, a digest of its command."""

    slot: int
    seq: int
    digest: int


class MemberJoined(Struct, frozen=True, gc=False):
    """A membership period began with entry ``since``."""

    user: str
    since: int


class MemberLeft(Struct, frozen=True, gc=False):
    """A membership period ended."""

    user: str


class MemberRead(Struct, frozen=True, gc=False):
    """A member has read up to entry ``seq``."""

    user: str
    seq: int


class MarkForgotten(Struct, frozen=True, gc=False):
    """A read mark ended with its membership period."""

    user: str


Change: TypeAlias = MemberJoined | MemberLeft | MemberRead | MarkForgotten


class PageOfIds(Struct, frozen=True, gc=False):
    """All that one page of a device's window holds: slots ``8 n`` to ``8 n + 7`` for page n."""

    sender: str
    device_id: str
    page: int
    ids: Sequence[tuple[str, Accepted]]


Kept: TypeAlias = Head | Change | PageOfIds
"""What a state record keeps. The last of each kind for the same key is enough."""


class Window:
    """The greatest accepted ids of one (conversation, sender, device), oldest first.

    An id below a full window is not in it although it may have been accepted: that is what
    *stale* means. The smallest makes room, so all that were ever dropped are below all that are
    held, and an id above the smallest that is not held was never accepted.
    """

    __slots__ = ("_touched", "ids")

    def __init__(self, ids: dict[str, Accepted] | None = None) -> None:
        self.ids = {} if ids is None else ids
        self._touched = 0  # a bit for each page

    def slot_for(self, client_msg_id: str) -> int | None:
        """The slot that an id takes if it is accepted: a free one, or the oldest one's.

        None where the id is stale: older than a full window.
        """
        ids = self.ids
        held = len(ids)
        if held < DEDUP_WINDOW:
            return held
        oldest = next(iter(ids))
        return None if client_msg_id < oldest else ids[oldest].slot

    def accept(self, client_msg_id: str, accepted: Accepted) -> bool:
        """Remembers an id that `slot_for` gave its slot; a full window drops its oldest.

        Returns:
            Whether this is the first since `take_touched`.
        """
        first = not self._touched
        self._touched |= 1 << accepted.slot // PAGE_SLOTS
        ids = self.ids
        if len(ids) >= DEDUP_WINDOW:
            del ids[next(iter(ids))]
        arrived_late = bool(ids) and client_msg_id < next(reversed(ids))
        ids[client_msg_id] = accepted
        if arrived_late:
            self.ids = dict(sorted(ids.items()))
        return first

    def take_touched(self) -> list[int]:
        """The pages that changed since this was last asked."""
        pages = [page for page in range(PAGES) if self._touched >> page & 1]
        self._touched = 0
        return pages

    def page(self, page: int) -> list[tuple[str, Accepted]]:
        """The ids that the slots of this page hold."""
        return [item for item in self.ids.items() if item[1].slot // PAGE_SLOTS == page]

    def restore(self, page: int, ids: Sequence[tuple[str, Accepted]]) -> None:
        """Replaces a page. A compacted log brings the pages in any order."""
        others = [item for item in self.ids.items() if item[1].slot // PAGE_SLOTS != page]
        self.ids = dict(sorted([*others, *ids]))


class Conversation:
    """The state of one conversation. `change` alone writes ``members`` and ``marks``.

    ``marks`` has only those members who ever said what they have read, in this period.
    """

    __slots__ = ("_members_in_order", "head", "marks", "members", "windows")

    def __init__(self) -> None:
        self.head: Head | None = None
        self.members: dict[str, int] = {}
        self.marks: dict[str, int] = {}
        self.windows: dict[tuple[str, str], Window] = {}
        self._members_in_order: tuple[str, ...] | None = None

    def change(self, change: Change) -> None:
        """Begins or ends a membership period, or moves a read mark within one."""
        match change:
            case MemberJoined(user, since):
                self.members[user] = since
                self._members_in_order = None
            case MemberLeft(user):
                self.members.pop(user, None)
                self._members_in_order = None
            case MemberRead(user, seq):
                self.marks[user] = seq
            case MarkForgotten(user):
                self.marks.pop(user, None)

    def restore(self, kept: Kept) -> None:
        """Takes in one record of a compacted log."""
        match kept:
            case Head():
                self.head = kept
            case PageOfIds(sender, device_id, page, ids):
                self.window(sender, device_id).restore(page, ids)
            case _:
                self.change(kept)

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
