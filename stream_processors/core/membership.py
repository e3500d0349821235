"""The entries of a membership command: several for a long list of people, and mode changes.

The name and the metadata of a new conversation are in a separate entry. So only one kind of entry
has them, and the first entry has all its room for members.

A long list of people becomes several entries for two reasons. Each named person receives the
entry, so one entry with n people would deliver n names to n people. And the size of an entry is
bounded. After each entry the mode is
checked. A change of the mode is an entry of its own that goes to every member, so that every
device knows from which SeqId on it reads the store or the sync timeline.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from msgspec import UNSET, UnsetType, structs

from schemas.codec import encode
from schemas.limits import MAX_ENTRY_BYTES, Limits
from schemas.number_types import Milliseconds, SeqId
from schemas.records import (
    AddMembers,
    AnyEntry,
    ConversationCreated,
    ConversationDescribed,
    CreateConversation,
    DescribeConversation,
    FanoutChanged,
    FanoutMode,
    MembersAdded,
    MembersRemoved,
    OwnershipTransferred,
    RemoveMembers,
    TransferOwnership,
)
from stream_processors.core.outcome import AddressedEntry, Effect
from stream_processors.core.periods import begin, free_number
from stream_processors.core.state import (
    Conversation,
    ConversationState,
    Leaver,
    LeaverForgotten,
    MemberJoined,
    MemberLeft,
    MemberRead,
    StateChange,
)

_PERIOD_BYTES: Final = 32
"""Size of a period in an entry without the id: its number, a SeqId and punctuation."""

_ENVELOPE_BYTES: Final = 512
"""Size of an entry without its members and the ids of conversation and sender: some 200 now."""

MembershipCommand = (
    CreateConversation | AddMembers | RemoveMembers | TransferOwnership | DescribeConversation
)


class Draft:
    """Collects the effects of one membership command, or of a description, on a copy of the state.

    Args:
        limits: The thresholds of the modes, and the number of people in one entry.
        command: The command, with sender and ids.
        at: The broker's time of the command, in milliseconds.
        head: The head of the conversation before the command.
        before: The members before the command, and the closed periods of former members.
    """

    def __init__(
        self,
        limits: Limits,
        command: MembershipCommand,
        at: Milliseconds,
        head: ConversationState,
        before: Conversation,
    ) -> None:
        self._limits = limits
        self._command = command
        self._common: dict[str, Any] = {
            "conv_id": command.conv_id,
            "sender": command.sender,
            "client_msg_id": command.client_msg_id,
            "at": at,
            "messages": head.messages,
        }
        self._head = head
        self._owner = head.owner
        self._seq = head.last_seq
        self._mode: FanoutMode = head.mode
        self._members = dict(before.members)
        self._leavers = before.leavers
        self._deliveries: list[AddressedEntry] = []
        self._changes: list[StateChange] = []

    def create(self, people: Sequence[str]) -> None:
        """Creates the conversation. Members beyond the limit of one entry follow as additions."""
        first = next(self._split(people))
        self._join(first)
        entry = ConversationCreated(
            **self._common, seq=self._next_seq(), members=list(first), join=self._head.join,
            mode=self._mode, history=self._head.history, member_count=len(self._members),
        )  # fmt: skip
        self._deliver(entry, tuple(self._members))
        self._switch_mode()
        self.add(people[len(first) :])

    def add(self, newcomers: Sequence[str]) -> None:
        """Adds people who are not members."""
        for batch in self._split(newcomers):
            periods = self._join(batch)
            entry = MembersAdded(
                **self._common, seq=self._next_seq(), members=list(batch), mode=self._mode,
                history=self._head.history, periods=periods or UNSET,
                member_count=len(self._members),
            )  # fmt: skip
            self._deliver(entry, self._concerned(batch))
            self._switch_mode()

    def remove(self, leavers: Sequence[str]) -> None:
        """Removes members. Each gets the entry that names them, and no later entry."""
        for batch in self._split(leavers):
            recipients, seq = self._concerned(batch), self._next_seq()
            numbers = {user: number for user in batch if (number := self._number(user))}
            for user in batch:
                del self._members[user]
                self._changes.append(MemberLeft(user, seq))
            entry = MembersRemoved(
                **self._common, seq=seq, members=list(batch), mode=self._mode,
                periods=numbers or UNSET, member_count=len(self._members),
            )  # fmt: skip
            self._deliver(entry, recipients)
            self._switch_mode()

    def transfer(self, owner: str) -> None:
        """Makes a member the owner."""
        concerned = self._concerned([owner, self._owner])
        self._owner = owner
        entry = OwnershipTransferred(**self._common, seq=self._next_seq(), owner=owner)
        self._deliver(entry, concerned)

    def describe(self, name: str | UnsetType, metadata: str | UnsetType) -> None:
        """Sets the name, the metadata, or both."""
        entry = ConversationDescribed(
            **self._common, seq=self._next_seq(), name=name, metadata=metadata
        )
        self._deliver(entry, self._concerned(()))

    def _pass_on(self) -> None:
        """Succession: the longest-standing member replaces an owner who is not a member."""
        members = self._members
        if members and self._owner not in members:
            self.transfer(min(members, key=lambda user: (members[user], user)))

    def effect(self, more: Sequence[StateChange] = ()) -> Effect:
        """All entries and their changes, with ``more`` changes."""
        self._pass_on()
        before = self._head
        head = structs.replace(before, owner=self._owner, mode=self._mode, last_seq=self._seq)
        return Effect(self._deliveries, head, [*self._changes, *more])

    def _split(self, people: Sequence[str]) -> Iterator[list[str]]:
        """Splits a list into parts within the limits of one entry, in number and in bytes."""
        command = self._command
        room = MAX_ENTRY_BYTES - _ENVELOPE_BYTES - len(encode((command.conv_id, command.sender)))
        part: list[str] = []
        room_left = room
        for user in people:
            size = len(encode(user)) + 1  # and a comma
            if user in self._leavers:
                size += len(encode(user)) + _PERIOD_BYTES
            if part and (len(part) == self._limits.members_per_entry or size > room_left):
                yield part
                part, room_left = [], room
            part.append(user)
            room_left -= size
        if part:
            yield part

    def _next_seq(self) -> SeqId:
        self._seq = SeqId(self._seq + 1)
        return self._seq

    def _join(self, people: Sequence[str]) -> dict[str, tuple[int, SeqId]]:
        """Adds people. Returns the numbers and first SeqIds of periods of returning members."""
        seq = SeqId(self._seq + 1)
        periods: dict[str, tuple[int, SeqId]] = {}
        for user in people:
            self._members[user] = seq
            if user in self._leavers:
                periods[user] = self._rejoin(self._leavers[user], seq)
            self._changes.append(MemberJoined(user, self._members[user]))
        return {user: period for user, period in periods.items() if period != (0, seq)}

    def _rejoin(self, leaver: Leaver, seq: SeqId) -> tuple[int, SeqId]:
        user, begun = leaver.user, begin(leaver.stays, seq, self._limits.max_periods)
        self._members[user] = begun.since
        if not begun.closed:
            self._changes.append(LeaverForgotten(user))
        elif begun.closed != leaver.stays:
            self._changes.append(Leaver(user, begun.closed))
        if begun.since < seq:  # a join marks all earlier entries as read
            self._changes.append(MemberRead(user, seq))
        return begun.number, begun.since

    def _number(self, user: str) -> int:
        leaver = self._leavers.get(user)
        return 0 if leaver is None else free_number(leaver.stays)

    def _concerned(self, named: Sequence[str]) -> tuple[str, ...]:
        """All members in push mode; otherwise the named people and the sender."""
        if self._mode == "push":
            return tuple(self._members)
        people = dict.fromkeys((*named, self._command.sender))
        return tuple(user for user in people if user in self._members)

    def _deliver(self, entry: AnyEntry, recipients: tuple[str, ...]) -> None:
        self._deliveries.append(AddressedEntry(entry, recipients))

    def _switch_mode(self) -> None:
        count = len(self._members)
        wanted = self._mode
        if self._mode == "push" and count > self._limits.push_limit:
            wanted = "pull"
        elif self._mode == "pull" and count < self._limits.push_again_below:
            wanted = "push"
        if wanted == self._mode:
            return
        self._mode = wanted
        entry = FanoutChanged(
            **self._common, seq=self._next_seq(), mode=wanted, member_count=count,
            push_limit=self._limits.push_limit, push_again_below=self._limits.push_again_below,
        )  # fmt: skip
        self._deliver(entry, tuple(self._members))
