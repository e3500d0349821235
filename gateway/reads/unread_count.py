"""The read mark of a user in a conversation, the number of unread messages, and the mute."""

from __future__ import annotations

from typing import NamedTuple

from gateway.reads.access import ConversationAccess
from gateway.store.store_port import Store, StoredMute
from schemas.number_types import SeqId
from schemas.unread import Counted, unread


class UnreadCount(NamedTuple):
    """The read mark, at most the head, and the number of messages above the mark.

    ``mute``: the last mute of the user; None without one.
    """

    mark: SeqId
    unread: int
    mute: StoredMute | None


async def reading_of(store: Store, access: ConversationAccess) -> UnreadCount:
    """The read mark, the unread count and the mute of the user, up to the head in ``access``.

    The head is read before the mark, because the store has a sender's own read mark for all
    messages up to a head that it shows. So a sender never sees their own message as unread.

    Raises:
        ServerUnavailable: The store does not answer.
    """
    known = await store.read_mark(access.conv_id, access.user)
    if not access.is_member:
        return UnreadCount(access.end.seq, 0, known.mute)
    mark = max(access.joined, known.own)
    if known.marked > mark.seq:
        mark = await _counted(store, access, known.marked)
    return UnreadCount(min(mark.seq, access.head), unread(access.end, mark), known.mute)


async def _counted(store: Store, access: ConversationAccess, seq: SeqId) -> Counted:
    """An entry with its message count, which the store retains after a recall."""
    if seq >= access.end.seq:  # the usual case: no unread message
        return access.end
    return Counted(seq, await store.messages_up_to(access.conv_id, seq))
