"""Up to where somebody has read a conversation, and how much they have not."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from gateway.access import ConversationAccess
from gateway.store import Store
from schemas.unread import Counted, unread


class Reading(NamedTuple):
    """The read mark, no higher than the head, and the number of messages above it."""

    mark: int
    unread: int


class _Counting(msgspec.Struct, frozen=True):
    """The part of an entry that counts."""

    messages: int = 0


_counting: Final = msgspec.json.Decoder(_Counting)


async def reading_of(store: Store, access: ConversationAccess) -> Reading:
    """How far the user has read, as of the head that was read before.

    In this order, because the store has all that people said themselves up to a head that it
    shows: whoever speaks is not shown their own message as unread.

    Raises:
        ServerUnavailable: The store does not answer.
    """
    known = await store.read_mark(access.conv_id, access.user)
    mark = max(access.joined, known.own)
    if known.marked > mark.seq:
        mark = await _counted(store, access, known.marked)
    return Reading(min(mark.seq, access.head), unread(access.end, mark))


async def _counted(store: Store, access: ConversationAccess, seq: int) -> Counted:
    """An entry, which the store has if it is not above the end, with its count."""
    if seq >= access.end.seq:  # mostly: all is read
        return access.end
    messages = 0
    at = seq
    while at > 0:
        (entry,) = await store.entries(access.conv_id, at, at)
        if not entry.is_recalled:
            return Counted(seq, messages + _counting.decode(entry.json).messages)
        # Its count is gone with its text: it is one more than that before, if it is a message.
        messages += entry.kind == "message_sent"
        at -= 1
    return Counted(seq, messages)
