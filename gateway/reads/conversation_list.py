"""The list of the caller's conversations."""

from __future__ import annotations

import asyncio
import itertools
from typing import Final

import msgspec

from gateway.errors import ConversationNotFound
from gateway.reads.access import ConversationAccess, access_conversation
from gateway.reads.unread_count import UnreadCount, reading_of
from gateway.store.store_port import Store
from schemas.http.answers import ConversationShown, ConversationsPage, PeriodShown

MAX_PAGE_BYTES: Final = 524_288
"""Maximum size of a page. A page is larger only if it has one conversation that is larger."""


async def list_conversations(store: Store, user: str, after: str, limit: int) -> ConversationsPage:
    """The first conversations with ids above ``after`` of which ``user`` is or was a member.

    At most ``limit`` conversations with at most `MAX_PAGE_BYTES` bytes, but at least one.

    Raises:
        ServerUnavailable: The store does not answer.
    """
    ids = await store.conversation_ids(user, after, limit + 1)
    more, ids = len(ids) > limit, ids[:limit]
    found = await open_conversations(store, user, ids)
    readings = await asyncio.gather(*(reading_of(store, each) for each in found.values()))
    shown = list(map(_shown, found.values(), readings))
    fitting = _fitting(shown)
    if fitting < len(shown):
        return ConversationsPage(conversations=shown[:fitting], next=shown[fitting - 1].conv_id)
    return ConversationsPage(conversations=shown, next=ids[-1] if more else None)


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


async def _open(store: Store, user: str, conv_id: str) -> ConversationAccess | None:
    try:
        return await access_conversation(store, user, conv_id)
    except ConversationNotFound:
        return None


def _shown(access: ConversationAccess, reading: UnreadCount) -> ConversationShown:
    return ConversationShown(
        conv_id=access.conv_id,
        head=access.head,
        messages=access.end.messages,
        read=reading.mark,
        unread=reading.unread,
        mode=access.mode if access.is_member else None,
        periods=[PeriodShown(stay.first, stay.last) for stay in access.stays],
        readable=[PeriodShown(part.first, part.last) for part in access.readable],
    )
