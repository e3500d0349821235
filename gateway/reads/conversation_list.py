"""The list of the caller's conversations."""

from __future__ import annotations

import asyncio
import itertools
from typing import Final

import msgspec

from gateway.errors import ConversationNotFound
from gateway.reads.access import ConversationAccess, access_conversation
from gateway.reads.conversation_order import choose_conversations
from gateway.reads.last_entry import last_entries
from gateway.reads.unread_count import UnreadCount, reading_of
from gateway.store.store_port import Store
from schemas.http.answers import (
    ConversationShown,
    ConversationsPage,
    LastEntryShown,
    MuteShown,
    PeriodShown,
)
from schemas.http.queries import ConversationsQuery

MAX_PAGE_BYTES: Final = 524_288
"""Maximum size of a page. A page is larger only if it has one conversation that is larger."""


async def list_conversations(
    store: Store, user: str, query: ConversationsQuery
) -> ConversationsPage:
    """One page of the conversations of which ``user`` is or was a member.

    At most `MAX_PAGE_BYTES` bytes, but at least one conversation.

    Raises:
        CursorOfAnotherOrder: The cursor is not from a page in the requested order.
        ServerUnavailable: The store does not answer.
    """
    choice = await choose_conversations(store, user, query.order, query.after, query.limit)
    accesses = await open_conversations(store, user, choice.conv_ids)
    readings, lasts = await asyncio.gather(
        asyncio.gather(*(reading_of(store, each) for each in accesses.values())),
        last_entries(store, accesses),
    )
    shown = [
        _shown(access, reading, lasts.get(access.conv_id))
        for access, reading in zip(accesses.values(), readings, strict=True)
    ]
    fitting = _fitting(shown)
    after: str | None = None
    if fitting < len(shown):
        shown = shown[:fitting]
        after = choice.cursor(shown[-1].conv_id, shown[-1].active)
    elif choice.more:
        last = choice.conv_ids[-1]
        active = accesses[last].active if last in accesses else 0
        after = choice.cursor(last, active)
    return ConversationsPage(conversations=shown, next=after, order=choice.order)


def _fitting(shown: list[ConversationShown]) -> int:
    """The number of these conversations that fit into one page, at least one."""
    sizes = itertools.accumulate(len(msgspec.json.encode(each)) for each in shown)
    return max(1, sum(size <= MAX_PAGE_BYTES for size in sizes))


async def open_conversations(
    store: Store, user: str, conv_ids: list[str]
) -> dict[str, ConversationAccess]:
    """The access of ``user`` to those of the given conversations that the user may open, by id.

    Raises:
        ServerUnavailable: The store does not answer.
    """
    opened = await asyncio.gather(*(_open(store, user, conv_id) for conv_id in conv_ids))
    return {access.conv_id: access for access in opened if access is not None}


async def can_open(store: Store, user: str, conv_id: str) -> bool:
    """Whether ``user`` is or was a member of a conversation.

    Raises:
        ServerUnavailable: The store does not answer.
    """
    return await _open(store, user, conv_id) is not None


async def _open(store: Store, user: str, conv_id: str) -> ConversationAccess | None:
    try:
        return await access_conversation(store, user, conv_id)
    except ConversationNotFound:
        return None


def _shown(
    access: ConversationAccess, reading: UnreadCount, last: LastEntryShown | None
) -> ConversationShown:
    member = access.about if access.is_member else None
    return ConversationShown(
        conv_id=access.conv_id,
        head=access.head,
        messages=access.end.messages,
        read=reading.mark,
        unread=reading.unread,
        mode=member and member.mode,
        periods=[PeriodShown(stay.first, stay.last) for stay in access.stays],
        readable=[PeriodShown(part.first, part.last) for part in access.readable],
        name=(member and member.name) or None,
        metadata=(member and member.metadata) or None,
        member_count=member and member.member_count,
        active=access.active,
        last=last,
        mute=reading.mute and MuteShown(*reading.mute),
    )
