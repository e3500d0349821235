"""The members of a conversation, in pages."""

from __future__ import annotations

from gateway.errors import NotAMember
from gateway.reads.access import access_conversation
from gateway.reads.readable_ids import is_id
from gateway.store.store_port import Store
from schemas.http.answers import MemberShown, MembersPage


async def list_members(
    store: Store, user: str, conv_id: str, after: str, limit: int
) -> MembersPage:
    """The first members with ids above ``after``; for a present member only.

    The people are read before the membership of ``user``, so a person who is being removed sees
    no change from after their removal.

    Raises:
        ConversationNotFound: There is no such conversation, or ``user`` was never a member.
        NotAMember: ``user`` was a member and is none now.
        ServerUnavailable: The store does not answer.
    """
    people = await store.members(conv_id, after, limit + 1) if is_id(conv_id) else []
    access = await access_conversation(store, user, conv_id)
    if not access.is_member:
        raise NotAMember
    more, people = len(people) > limit, people[:limit]
    return MembersPage(
        members=[
            MemberShown(
                user=each.user, seq=each.seq, joined=each.at, owner=each.user == access.about.owner
            )
            for each in people
            if each.joined
        ],
        next=people[-1].user if more else None,
    )
