"""Up to where somebody has read a conversation, and how much they have not."""

from __future__ import annotations

from typing import NamedTuple

from gateway.access import ConversationAccess
from gateway.store import Store
from schemas.unread import Counted, unread


class Reading(NamedTuple):
    """The read mark, no higher than the head, and the number of messages above it."""

    mark: int
    unread: int


async def reading_of(store: Store, access: ConversationAccess) -> Reading:
    """How far the user has read, as of the head that was read before.

    In this order, because the store has all that people said themselves up to a head that it
    shows: whoever speaks is not shown their own message as unread.

    Raises:
        ServerUnavailable: The store does not answer.
    """
    if not access.is_member:
        return Reading(access.end.seq, 0)
    known = await store.read_mark(access.conv_id, access.user)
    mark = max(access.joined, known.own)
    if known.marked > mark.seq:
        mark = await _counted(store, access, known.marked)
    return Reading(min(mark.seq, access.head), unread(access.end, mark))


async def _counted(store: Store, access: ConversationAccess, seq: int) -> Counted:
    """An entry with its count, which its place in the store keeps also when it is recalled."""
    if seq >= access.end.seq:  # mostly: all is read
        return access.end
    return Counted(seq, await store.messages_up_to(access.conv_id, seq))
