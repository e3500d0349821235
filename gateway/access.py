"""The only door to a conversation.

Whoever wants to read something of a conversation, or to tell that it is there, asks
`access_conversation` first. What may be seen in it is decided by `schemas.visibility` alone.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.ids import is_id
from gateway.problems import no_such_conversation
from gateway.store import Store
from schemas.records import FanoutMode
from schemas.unread import Counted
from schemas.visibility import Period, counts, periods, readable, visible


class ConversationAccess(NamedTuple):
    """What one user may see of one conversation.

    ``stored`` is the SeqId up to which the store knows the conversation and, above all, who was
    in it: nothing above it is shown, because whether the user was still there is not known yet.
    ``stays`` are their membership periods, ``readable`` is what they may read back. ``joined`` is
    the entry that let them in last, ``end`` the last one that they may see of what goes on.
    """

    conv_id: str
    user: str
    stored: int
    mode: FanoutMode
    stays: list[Period]
    readable: list[Period]
    joined: Counted
    end: Counted

    def may_see(self, seq: int) -> bool:
        """Whether the user may see the entry ``seq`` now."""
        return seq <= self.stored and visible(self.readable, seq)

    async def as_of(self, store: Store, seq: int) -> ConversationAccess:
        """The same, where an entry or an edit ``seq`` was read after the membership was.

        What a row says may come from after the removal of the user. The store has every change of
        membership up to an entry that it shows, so a second read of the membership decides.

        Raises:
            ServerUnavailable: The store does not answer.
        """
        if seq <= self.stored:
            return self
        changes = await store.changes(self.user, self.conv_id)
        return self._replace(
            stored=seq,
            stays=periods((change.seq, change.joined) for change in changes),
            readable=readable(changes),
        )

    def sees_edit(self, seq: int) -> bool:
        """Whether the edit ``seq`` of a message that the user may see counts for the user now."""
        return seq <= self.stored and counts(self.readable, seq)

    @property
    def is_member(self) -> bool:
        """Whether the user is in the conversation now."""
        return self.stays[-1].last is None

    @property
    def head(self) -> int:
        """The last SeqId that the user may know of: what came after they left is not theirs."""
        return self.end.seq


async def access_conversation(store: Store, user: str, conv_id: str) -> ConversationAccess:
    """Opens a conversation to a user who is, or once was, a member.

    1. read its head, 2. read the membership. In this order, because the store has all changes of
    membership up to a head that it shows; the other way round, somebody who is being removed
    could read on beyond their removal. A join above the head opens no more than the same join
    does a moment later. Both are always read: how long a refusal takes does not tell whether the
    conversation exists.

    Raises:
        Problem: 404, if there is no such conversation or the user was never in it.
        ServerUnavailable: The store does not answer.
    """
    if not is_id(conv_id):
        raise no_such_conversation()
    conversation = await store.conversation(conv_id)  # step 1
    changes = await store.changes(user, conv_id)  # step 2
    stays = periods((change.seq, change.joined) for change in changes)
    if conversation is None:
        raise no_such_conversation()
    if not stays:
        raise no_such_conversation()
    counts = {change.seq: change.messages for change in changes}
    joined = max(change.seq for change in changes if change.joined)
    last = stays[-1].last
    end = Counted(conversation.head, conversation.messages)
    if last is not None and last < end.seq:
        end = Counted(last, counts[last])
    return ConversationAccess(
        conv_id,
        user,
        conversation.head,
        conversation.mode,
        stays,
        readable(changes),
        joined=Counted(joined, counts[joined]),
        end=end,
    )
