"""The rules by which a device learns from records and from the store: pure, no I/O.

Two rules make the device's copy equal to the store, for any input in any order.

1. A conversation is dense: a device that knows SeqId n knows that 1 to n-1 exist, and reads the
   missing ones from the store. This one rule covers a pull conversation, a switch of the mode, an
   interrupted membership, and an expired sync timeline; the device need not know the cause. The
   last known entry is the known end of a conversation. In a pull conversation, most entries do
   not arrive by sync, so the device learns the end from the head.
2. The gateway alone decides what a person may see. A device accepts a hole from the gateway only
   up to the head in the same answer: above the head, the store may not know of a rejoin yet.

A person who rejoins sees the current text of messages that were edited during the absence, but
their sync timeline does not have these edits. So a device takes everything before a join from the
store alone, in answers that include the join, and reads the stored part of it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from consumers.device.spans import Span
from schemas.codec import decode_entry
from schemas.http.answers import MuteShown
from schemas.number_types import FIRST_SEQ, NO_SEQ, SeqId, SyncSeqId
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

BEFORE_ALL: Final = SyncSeqId(-1)
"""The cursor of a device that has applied nothing: sync SeqIds begin at 0."""

NOT_YET: Final = "not_yet"
"""The kind of a temporary hole: an entry exists, and the store does not have it yet."""


RECALLED_TEXT: Final = "recalled"
"""The kind of a hole in place of a recalled message, or of an edit of a recalled message."""


class TimelineItem(NamedTuple):
    """The SeqIds ``first`` to ``last`` of a conversation: one entry, or a typed hole.

    ``json``: the entry as it was sequenced; an edited message has the text of its last edit, and
    the SeqId of this edit in ``edited``. Empty for a hole. ``hole``: the kind of the hole, such
    as ``hidden``; None for an entry.
    """

    conv_id: str
    first: SeqId
    last: SeqId
    hole: str | None
    json: bytes

    @property
    def span(self) -> Span:
        """The SeqIds of this item."""
        return Span(self.first, self.last)

    def entry(self) -> AnyEntry:
        """Return the entry.

        Raises:
            UndecodableRecord: The item is a hole, or this version does not know its kind.
        """
        return decode_entry(self.json)


class Arrived(NamedTuple):
    """One record of a sync timeline. ``record`` is None if this version does not know its kind."""

    sync_seq: SyncSeqId
    json: bytes
    record: AnySyncRecord | None


class SyncBatch(NamedTuple):
    """Records of a sync timeline.

    Args:
        after: The batch has all records above this cursor and up to ``next``. None if the batch
            may not be complete.
        arrived: The records, in any order.
        next: The cursor of a device that has applied the batch and all records up to ``after``.
        more: Whether more records are available now.
        heads: Pushed heads of pulled conversations, by conversation. None if heads are not
            pushed, or if the push begins with this batch: the device then has to query all heads,
            once, or at intervals while the value stays None.
    """

    after: SyncSeqId | None
    arrived: Sequence[Arrived]
    next: SyncSeqId
    more: bool
    heads: Mapping[str, SeqId] | None = None


class HistoryPart(NamedTuple):
    """The store's answer about a span: ascending items, possibly only the first part.

    ``head`` is the last SeqId that the reader may know; 0 if the reader may not know the
    conversation.
    """

    conv_id: str
    head: SeqId
    items: Sequence[TimelineItem]


class LocalDescription(NamedTuple):
    """Name and metadata (a JSON object as text) of a conversation; empty if there is none."""

    name: str = ""
    metadata: str = ""


class Listed(NamedTuple):
    """A conversation as the store lists it, for the owner of a device.

    ``mode`` is None if the owner is not a member. ``messages`` counts the messages up to the
    ``head``. ``read`` is the owner's read mark, ``unread`` the number of messages above the mark,
    and ``since`` the SeqId of the entry that first let the owner in. ``description`` is that as of
    the ``head``, and ``mute`` the last stored mute of the owner.
    """

    conv_id: str
    head: SeqId
    mode: FanoutMode | None
    messages: int = 0
    read: SeqId = NO_SEQ
    unread: int = 0
    since: SeqId = FIRST_SEQ
    description: LocalDescription = LocalDescription()
    mute: MuteShown | None = None


class ShownFrom(NamedTuple):
    """The SeqId ``first`` from which a device shows a conversation, with head and mode then."""

    conv_id: str
    first: SeqId
    head: SeqId
    mode: FanoutMode | None


class Beginning(NamedTuple):
    """Where a device begins.

    ``cursor``: its start in the sync timeline. ``starts``: its start in each conversation that
    its owner was in at registration; empty for a device that shows everything. The device shows
    all conversations that the owner enters later.
    """

    policy: NewDevicePolicy
    cursor: SyncSeqId
    starts: Sequence[ShownFrom]

    @property
    def is_late(self) -> bool:
        """Whether earlier entries exist that the device does not show."""
        return self.policy != "full-history"


class Standing(NamedTuple):
    """How a conversation reaches this device, as of SeqId ``seq``. ``mode`` None: not a member."""

    mode: FanoutMode | None
    seq: SeqId


UNKNOWN: Final = Standing(None, NO_SEQ)
"""The value before anything is known."""


class LocalConversation(NamedTuple):
    """What a device knows about one conversation.

    ``head``: the last SeqId that is known to exist. ``through``: nothing is missing up to this
    SeqId. ``shown``: everything was shown up to this SeqId. ``mode``: the mode as of
    ``mode_seq``; None if the owner was not a member then. ``start``: the first SeqId that the
    device shows; entries before it are neither stored nor missed. ``joined``: the SeqId of the
    last entry that let the owner in.
    """

    conv_id: str
    head: SeqId = NO_SEQ
    through: SeqId = NO_SEQ
    shown: SeqId = NO_SEQ
    mode: FanoutMode | None = UNKNOWN.mode
    mode_seq: SeqId = UNKNOWN.seq
    start: SeqId = FIRST_SEQ
    joined: SeqId = NO_SEQ

    @property
    def standing(self) -> Standing:
        """How the conversation reaches this device."""
        return Standing(self.mode, self.mode_seq)


class Gap(NamedTuple):
    """SeqIds of a conversation that exist and are missing here."""

    conv_id: str
    span: Span


def standing_after(entry: AnyEntry, user: str) -> Standing | None:
    """Return how later entries reach ``user`` after this entry; None: no change."""
    match entry:
        case MembersRemoved(members=members) if user in members:
            return Standing(None, entry.seq)
        case ConversationCreated() | MembersAdded() | MembersRemoved() | FanoutChanged():
            return Standing(entry.mode, entry.seq)
        case _:
            return None


def later(one: Standing, other: Standing | None) -> Standing:
    """Return the newer one. An old entry that arrives late must not restore an old mode."""
    return one if other is None or other.seq < one.seq else other


def certain(part: HistoryPart) -> list[TimelineItem]:
    """Return the part of a store's answer that is permanently valid (rule 2 above)."""
    items: list[TimelineItem] = []
    for item in part.items:
        if item.hole is None:
            items.append(item)
        elif item.hole != NOT_YET and item.first <= part.head:
            items.append(item._replace(last=min(item.last, part.head)))
    return items


def is_to_be_read(standing: Standing, listed: Listed, *, everything: bool) -> bool:
    """Return whether a device reads up to a listed head from the store.

    In a push conversation this is not needed: the entries arrive by themselves.

    Args:
        standing: What the device knows.
        listed: The conversation in the list of the store. Either argument may be newer.
        everything: The device was disconnected and does not know what it missed.
    """
    return everything or "pull" in {standing.mode, listed.mode}
