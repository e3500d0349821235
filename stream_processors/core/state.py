"""The sequencer's state of a conversation, and the changes of the state.

| for each | state | changed by |
|---|---|---|
| conversation | owner, rules, mode, last SeqId, number of messages | a new `ConversationState` |
| member | the SeqId at which their membership period began | `MemberJoined`, `MemberLeft` |
| member | the SeqId up to which the member marked as read | `MemberRead`, `MarkForgotten` |
| person who left once | closed periods | `MemberLeft`, `Leaver`, `LeaverForgotten` |
| message among the last 1,000 SeqIds | sender, time, recipients, edits | `say`, `alter` |
| (sender, device, installation) | the latest 32 decided ids, their outcomes | `Window.append` |
| sender | the floor: no id up to it is new from a device without a window | `FloorRaised` |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from msgspec import Struct

from schemas.number_types import SeqId
from schemas.records import AnyCommand, FanoutMode, HistoryRule, JoinRule
from stream_processors.core.audience import Audience
from stream_processors.core.devices import DeviceKey, Devices, device_of
from stream_processors.core.periods import ClosedPeriod, free_number
from stream_processors.core.recent import (
    ClosedPage,
    RecentMessages,
    RememberedMessage,
    UnalteredMessage,
)
from stream_processors.core.strangers import Strangers
from stream_processors.core.window import Decided, Window


class ConversationState(Struct, frozen=True, array_like=True):
    """The head of a conversation. ``last_seq`` is the last assigned SeqId, 0 before the first.

    ``messages`` is the number of messages among its entries. The last fields have defaults,
    because states of early versions have no history rule and no count of messages.
    """

    owner: str
    join: JoinRule
    mode: FanoutMode
    last_seq: SeqId
    history: HistoryRule = "since_join"
    messages: int = 0


class MemberJoined(Struct, frozen=True, gc=False):
    """A membership period began with entry ``since``, or continues since then."""

    user: str
    since: SeqId


class MemberLeft(Struct, frozen=True, gc=False):
    """A membership period ended with entry ``until``."""

    user: str
    until: SeqId


class Leaver(Struct, frozen=True, array_like=True, gc=False):
    """The closed periods of a person who has left once, and may be a member again.

    Never empty; in the order in which the periods ended.
    """

    user: str
    stays: tuple[ClosedPeriod, ...]

    @property
    def until(self) -> SeqId:
        """The last SeqId of the last closed period."""
        return self.stays[-1].last


class LeaverForgotten(Struct, frozen=True, gc=False):
    """The only closed period of ``user`` continues, so ``user`` has no closed period."""

    user: str


class MemberRead(Struct, frozen=True, gc=False):
    """A member has read up to entry ``seq``."""

    user: str
    seq: SeqId


class MarkForgotten(Struct, frozen=True, gc=False):
    """A read mark ended with its membership period."""

    user: str


StateChange: TypeAlias = (
    MemberJoined | MemberLeft | MemberRead | MarkForgotten | Leaver | LeaverForgotten
)


class HeadAndOpenPage(Struct, frozen=True, array_like=True):
    """The state that nearly every entry changes: the head and the open page of recent messages."""

    head: ConversationState
    page: int
    messages: dict[SeqId, RememberedMessage]


class PageOfIds(Struct, frozen=True, gc=False):
    """The content of one page of a device's window: indexes ``8 n`` to ``8 n + 7`` for page n.

    ``place`` is the place of the window among the sender's windows. A page without ids has no
    device.
    """

    sender: str
    place: int
    page: int
    device: DeviceKey = ("", "")
    ids: Sequence[Decided] = ()


class FloorRaised(Struct, frozen=True, gc=False):
    """A window was evicted: no id up to ``floor`` is new from a device without a window."""

    sender: str
    floor: str


StateContent: TypeAlias = HeadAndOpenPage | StateChange | PageOfIds | FloorRaised | ClosedPage
"""The content of a state record. The last record for each key is enough for a restore."""


class Conversation:
    """The state of one conversation. Only its own methods change it.

    ``marks`` has only the members who have sent a read mark in their present period.
    ``leavers`` are in the order of their last leave; people who are members again may be later.
    ``unlogged``: changes that need their own state records; mostly empty.
    """

    __slots__ = (
        "_audience",
        "devices",
        "head",
        "leavers",
        "marks",
        "members",
        "recent",
        "unlogged",
    )

    def __init__(
        self, head: ConversationState | None = None, recent: RecentMessages | None = None
    ) -> None:
        self.head = head
        self.members: dict[str, SeqId] = {}
        self.leavers: dict[str, Leaver] = {}
        self.marks: dict[str, SeqId] = {}
        self.devices: dict[str, Devices] = {}
        self.recent = RecentMessages() if recent is None else recent
        self.unlogged: list[StateContent] = []
        self._audience: Audience | None = None

    def take_unlogged(self) -> list[StateContent]:
        """Returns and clears the changes that need their own state records."""
        unlogged, self.unlogged = self.unlogged, []
        return unlogged

    def change(self, change: StateChange) -> None:
        """Begins or ends a membership period, or moves a read mark within one."""
        changed: list[StateContent] = [change]
        if isinstance(change, MemberLeft):
            changed.append(self._leaver(change))
        for content in changed:
            self.restore(content)
        self.unlogged += changed

    def remember(self, seq: SeqId, remembered: RememberedMessage | UnalteredMessage) -> None:
        """Remembers a new message."""
        closed = self.recent.add(seq, remembered)
        if closed is not None:
            self.unlogged.append(closed)

    def alter(self, seq: SeqId, remembered: RememberedMessage) -> None:
        """Remembers the new state of a message."""
        changed = self.recent.replace(seq, remembered)
        if changed is not None:
            self.unlogged.append(changed)

    def restore(self, content: StateContent) -> None:
        """Applies one record of a compacted log, which may have only the last value of a key."""
        match content:
            case HeadAndOpenPage(head, page, messages):
                self.head = head
                self.recent.restore_open(page, messages)
            case PageOfIds(sender, place, page, device, ids):
                self._devices_of(sender).restore(device, place, page, ids)
            case FloorRaised(sender, floor):
                self._devices_of(sender).floor = floor
            case ClosedPage():
                self.recent.restore_page(content)
            case _:
                self._restore_person(content)

    def _restore_person(self, content: StateChange) -> None:
        match content:
            case MemberJoined(user, since):
                self.members[user] = since
                self._audience = None
            case MemberLeft(user):
                self.members.pop(user, None)
                self._audience = None
            case Leaver(user):
                self.leavers.pop(user, None)  # so that it is inserted last
                self.leavers[user] = content
            case LeaverForgotten(user):
                self.leavers.pop(user, None)
            case MemberRead(user, seq):
                self.marks[user] = seq
            case MarkForgotten(user):
                self.marks.pop(user, None)

    def window_of(self, command: AnyCommand) -> Window | None:
        """The window of the device that a command comes from, if it has one."""
        devices = self.devices.get(command.sender)
        if devices is None:
            return None
        return devices.windows.get((command.device_id, command.installation or ""))

    def open_window(self, command: AnyCommand, strangers: Strangers | None) -> Window:
        """Makes this window, with the commands that the sender was refused as a stranger."""
        devices = self._devices_of(command.sender)
        floor = devices.floor
        held = strangers.held(command) if strangers else ()
        window = devices.open(device_of(command), held)
        if devices.floor != floor:
            self.unlogged.append(FloorRaised(command.sender, devices.floor))
        return window

    def has_place(self, user: str) -> bool:
        """Whether the conversation remembers the ids of this user, who is or was a member."""
        return user in self.members or user in self.devices

    def recipients(self) -> Audience:
        """All members, in the order of their joining."""
        if self._audience is None:
            self._audience = Audience(self.members)
        return self._audience

    def _devices_of(self, sender: str) -> Devices:
        devices = self.devices.get(sender)
        if devices is None:
            devices = self.devices[sender] = Devices()
        return devices

    def _leaver(self, change: MemberLeft) -> Leaver:
        before = self.leavers.get(change.user)
        closed = before.stays if before else ()
        period = ClosedPeriod(self.members[change.user], change.until, free_number(closed))
        return Leaver(change.user, (*closed, period))
