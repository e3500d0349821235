"""The last command of a conversation, which may have further entries."""

from __future__ import annotations

from typing import TypeAlias

from audit.digests import ABSENT, command_hash
from schemas.records import (
    AnyEntry,
    ConversationCreated,
    ConversationDescribed,
    FanoutChanged,
    MembersAdded,
    MembersRemoved,
    OwnershipTransferred,
)

MembershipKind: TypeAlias = type[MembersAdded] | type[MembersRemoved]


class OpenCommand:
    """Which entries of the command of the last entry may follow.

    Attributes:
        has_changed_members: Whether the last entry changed the members.
    """

    def __init__(self) -> None:
        self.has_changed_members = False
        self._hash = ABSENT
        self._kind: MembershipKind | None = None
        self._is_creating = False

    @property
    def is_open(self) -> bool:
        """Whether another entry of the command may follow."""
        return self._kind is not None

    def close(self) -> None:
        """Forget the command, because entries after it are missing."""
        self.has_changed_members = self._is_creating = False
        self._kind = None

    def note(self, entry: AnyEntry) -> None:
        """Record the last entry."""
        self.has_changed_members = False
        is_created = isinstance(entry, ConversationCreated)
        self._is_creating = is_created or (self._is_creating and self.continues(entry))
        match entry:
            case ConversationCreated() | MembersAdded():
                self._kind, self.has_changed_members = MembersAdded, True
            case MembersRemoved():
                self._kind, self.has_changed_members = MembersRemoved, True
            case FanoutChanged():
                pass
            case _:
                self._kind = None
        self._hash = command_hash(entry)

    def continues(self, entry: AnyEntry) -> bool:
        """Whether an entry belongs to the same command as the last entry."""
        if self._kind is None or self._hash != command_hash(entry):
            return False
        if isinstance(entry, ConversationDescribed):
            return self._is_creating
        return isinstance(entry, FanoutChanged | OwnershipTransferred | self._kind)
