"""The access check of a conversation.

Code that reads a conversation, or reveals that the conversation exists, calls
`access_conversation` first. Only `schemas.visibility` decides which entries a person may see.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.errors import ConversationNotFound
from gateway.reads.readable_ids import is_id
from gateway.store.store_port import ConversationHead, Store
from schemas.number_types import SeqId
from schemas.records import FanoutMode
from schemas.unread import Counted
from schemas.visibility import Period, counts, periods, readable, visible


class ConversationAccess(NamedTuple):
    """The access of one user to one conversation.

    ``stored`` is the SeqId up to which the store has the conversation and its membership. No entry
    above ``stored`` is shown, because the user's membership there is not known yet. ``stays`` are
    the user's membership periods, ``readable`` is the ranges that the user may read back.
    ``joined`` is the user's last join, ``end`` is the last entry that the user may see, and
    ``active`` the time of this entry in milliseconds since 1970. ``about`` is the state of the
    conversation, of which a former member may see nothing.
    """

    conv_id: str
    user: str
    stored: SeqId
    about: ConversationHead
    stays: list[Period]
    readable: list[Period]
    joined: Counted
    end: Counted
    active: int = 0

    def may_see(self, seq: SeqId) -> bool:
        """Whether the user may see the entry ``seq`` now."""
        return seq <= self.stored and visible(self.readable, seq)

    async def as_of(self, store: Store, seq: SeqId) -> ConversationAccess:
        """The access, read again if an entry or an edit ``seq`` may be newer than this access.

        The row that was read may be from after the user's removal. The store has every change of
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

    def sees_edit(self, seq: SeqId) -> bool:
        """Whether a message that the user may see is shown with the text of the edit ``seq``."""
        return seq <= self.stored and counts(self.readable, seq)

    @property
    def is_member(self) -> bool:
        """Whether the user is a member now."""
        return self.stays[-1].last is None

    @property
    def mode(self) -> FanoutMode:
        """The mode of the conversation."""
        return self.about.mode

    @property
    def head(self) -> SeqId:
        """The last SeqId that the user may know: for a former member, none after the leave."""
        return self.end.seq


async def access_conversation(store: Store, user: str, conv_id: str) -> ConversationAccess:
    """Returns the access of a user who is, or was, a member of a conversation.

    1. read the head, 2. read the membership. The order matters: the store has all changes of
    membership up to a head that it shows. In the other order, a person who is being removed could
    read entries from after the removal. A join above the head opens no more than the same join
    does a moment later. Both are always read, so the duration of a refusal does not reveal whether
    the conversation exists.

    Raises:
        ConversationNotFound: There is no such conversation, or the user was never a member.
        ServerUnavailable: The store does not answer.
    """
    if not is_id(conv_id):
        raise ConversationNotFound
    head = await store.conversation(conv_id)  # step 1
    return await access_after_head(store, user, conv_id, head)


async def access_after_head(
    store: Store, user: str, conv_id: str, conversation: ConversationHead | None
) -> ConversationAccess:
    """Step 2 of `access_conversation`, for a caller that has read the head already.

    Args:
        store: The store.
        user: The person.
        conv_id: A conversation.
        conversation: The head, of a read that ended before this call.

    Raises:
        ConversationNotFound: There is no such conversation, or the user was never a member.
        ServerUnavailable: The store does not answer.
    """
    changes = await store.changes(user, conv_id)  # step 2
    stays = periods((change.seq, change.joined) for change in changes)
    if conversation is None:
        raise ConversationNotFound
    if not stays:
        raise ConversationNotFound
    counts = {change.seq: change.messages for change in changes}
    joined = max(change.seq for change in changes if change.joined)
    last = stays[-1].last
    end, active = Counted(conversation.head, conversation.messages), conversation.at
    if last is not None and last < end.seq:
        end, active = Counted(last, counts[last]), max(changes).at
    return ConversationAccess(
        conv_id,
        user,
        conversation.head,
        conversation,
        stays,
        readable(changes),
        joined=Counted(joined, counts[joined]),
        end=end,
        active=active,
    )
