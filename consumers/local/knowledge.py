"""What records and answers tell a device: pure, no I/O.

Two rules make the copy of a device the same as the store, whatever it is told in whatever order.

1. A conversation is dense, so whoever knows of SeqId n knows that 1 to n-1 exist. What is not
   there is asked for. That alone covers a pull conversation, a switch in either direction, a
   stay that was interrupted, and a sync timeline that has expired: which of them it was does not
   matter. How far a conversation goes is told by its entries and, where a pull conversation has
   none to tell, by its head.
2. What one may see is decided by the gateway alone. A device takes its word for a hole, but only
   up to the head that came with it: above, the store may not have heard yet that somebody is in
   again.

A person who is in again sees the present words of messages that were edited while they were
away, and their sync timeline does not have these edits. So a device takes what lies before a join
from the store alone, in answers that know of the join, and reads again what it has of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from consumers.local.spans import Span
from schemas.codec import decode_entry
from schemas.records import (
    AnyEntry,
    AnySyncRecord,
    ConversationCreated,
    FanoutChanged,
    FanoutMode,
    MembersAdded,
    MembersRemoved,
    NewDevicePolicy,
)

BEFORE_ALL: Final = -1
"""The cursor of a device that has applied nothing yet: sync SeqIds begin at 0."""

NOT_YET: Final = "not_yet"
"""The kind of a hole that is none: the store has yet to get what is there."""


RECALLED: Final = "recalled"
"""The kind of a hole where there was a message, or an edit, whose text was taken back."""


class TimelineItem(NamedTuple):
    """The SeqIds ``first`` to ``last`` of a conversation: one entry, or a typed hole.

    ``json`` is the entry as it was sequenced, but for an edited message, which has the words of
    its last edit and the SeqId of that in ``edited``; it is empty if this is a hole. ``hole`` is
    the kind of that, such as ``hidden``, None if this is an entry.
    """

    conv_id: str
    first: int
    last: int
    hole: str | None
    json: bytes

    @property
    def span(self) -> Span:
        """The SeqIds that it accounts for."""
        return Span(self.first, self.last)

    def entry(self) -> AnyEntry:
        """The entry.

        Raises:
            UndecodableRecord: It is a hole, or of a kind that this version does not know.
        """
        return decode_entry(self.json)


class Arrived(NamedTuple):
    """One record of a sync timeline. ``record`` is None if its kind is not known here."""

    sync_seq: int
    json: bytes
    record: AnySyncRecord | None


class SyncBatch(NamedTuple):
    """Records of a sync timeline.

    Args:
        after: All records above this cursor and up to ``next`` are here. None if nobody can say.
        arrived: The records, in any order.
        next: The cursor of who has applied them and all before ``after``.
        more: Whether there are more right now.
        heads: Heads of pulled conversations that were told, by conversation. None if nobody tells
            them, or only begins to: then all have to be asked for, now or, if it stays so, again
            and again.
    """

    after: int | None
    arrived: Sequence[Arrived]
    next: int
    more: bool
    heads: Mapping[str, int] | None = None


class HistoryPart(NamedTuple):
    """What the store answers about a span: items ascending, not always all of it.

    ``head`` is the last SeqId that the asker may know of, 0 if they may not know the conversation.
    """

    conv_id: str
    head: int
    items: Sequence[TimelineItem]


class Listed(NamedTuple):
    """A conversation as the store lists it: its head, its mode; None for who is not a member.

    Of the entries up to the head so many are ``messages``; ``read`` is the owner's read mark, and
    ``unread`` the number of messages above it. ``since`` is the entry that let them in first.
    """

    conv_id: str
    head: int
    mode: FanoutMode | None
    messages: int = 0
    read: int = 0
    unread: int = 0
    since: int = 1


class Start(NamedTuple):
    """A device shows a conversation from SeqId ``first`` on. Head and mode are of that moment."""

    conv_id: str
    first: int
    head: int
    mode: FanoutMode | None


class Beginning(NamedTuple):
    """Where a device begins.

    ``cursor``: of the sync timeline. ``starts``: in each conversation that its owner was in by
    then; none of a device that shows everything. It shows all of those that come later.
    """

    policy: NewDevicePolicy
    cursor: int
    starts: Sequence[Start]

    @property
    def is_late(self) -> bool:
        """Whether something lies before it that it does not show."""
        return self.policy != "full-history"


class Standing(NamedTuple):
    """How a conversation reaches this device, as of a SeqId; ``mode`` None: not a member."""

    mode: FanoutMode | None
    seq: int


UNKNOWN: Final = Standing(None, 0)
"""Before anything was told."""


class LocalConversation(NamedTuple):
    """What a device knows about one conversation.

    ``head`` is the last SeqId that is known to exist, ``through`` the one up to which nothing is
    missing, ``shown`` the one up to which it was shown. ``mode`` is as of ``mode_seq``, and None
    if the user was not a member then. ``start`` is the first SeqId that the device shows; what
    lies before it is neither kept nor missed. ``joined`` is the last entry that let the user in.
    """

    conv_id: str
    head: int = 0
    through: int = 0
    shown: int = 0
    mode: FanoutMode | None = UNKNOWN.mode
    mode_seq: int = UNKNOWN.seq
    start: int = 1
    joined: int = 0

    @property
    def standing(self) -> Standing:
        """How it reaches this device."""
        return Standing(self.mode, self.mode_seq)


class Gap(NamedTuple):
    """SeqIds of a conversation that are known to exist, and missing."""

    conv_id: str
    span: Span


def standing_told_by(entry: AnyEntry, user: str) -> Standing | None:
    """What an entry tells ``user`` about how the next ones come; None if nothing."""
    match entry:
        case MembersRemoved(members=members) if user in members:
            return Standing(None, entry.seq)
        case ConversationCreated() | MembersAdded() | MembersRemoved() | FanoutChanged():
            return Standing(entry.mode, entry.seq)
        case _:
            return None


def later(one: Standing, other: Standing | None) -> Standing:
    """The newer one. Entries of old SeqIds arrive late, and must not turn anything back."""
    return one if other is None or other.seq < one.seq else other


def certain(part: HistoryPart) -> list[TimelineItem]:
    """What an answer of the store settles for good: see rule 2 above."""
    found: list[TimelineItem] = []
    for item in part.items:
        if item.hole is None:
            found.append(item)
        elif item.hole != NOT_YET and item.first <= part.head:
            found.append(item._replace(last=min(item.last, part.head)))
    return found


def is_to_be_read(standing: Standing, listed: Listed, *, everything: bool) -> bool:
    """Whether a device reads up to a listed head from the store.

    In a push conversation it need not: the entries are on their way to it.

    Args:
        standing: What the device knows.
        listed: What the store says. Either may be the newer one.
        everything: The device was away, and does not know what it missed.
    """
    return everything or "pull" in {standing.mode, listed.mode}
