"""The sync timeline and the store, over HTTP from the gateway."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import aiohttp
from msgspec import Raw

from consumers.device.knowledge import (
    Arrived,
    HistoryPart,
    Listed,
    LocalDescription,
    SyncBatch,
    TimelineItem,
)
from consumers.device.spans import Span
from consumers.gateway_client import NOT_FOUND, GatewayClient, decode_answer
from schemas.codec import decode_sync_record
from schemas.errors import RequestRefused, UndecodableRecord
from schemas.http.answers import ConversationShown, ItemPlace, SyncPageItem
from schemas.http.queries import ConversationsQuery, MessagesQuery, SyncQuery
from schemas.number_types import NO_SEQ, SyncSeqId
from schemas.records import AnySyncRecord

LONGEST_WAIT: Final = 20
"""Maximum wait parameter, in seconds; well below the timeout of a request."""

SYNC_PAGE: Final = 500
HISTORY_PAGE: Final = 500
LIST_PAGE: Final = 200


class GatewayTimelines:
    """`SyncSource` and `History` of one person, over HTTP.

    Args:
        address: The gateway, such as ``http://127.0.0.1:8080``.
        token: Returns a bearer token of the person. Called for each request: tokens expire.
        http: The HTTP session.
    """

    def __init__(
        self, address: str, token: Callable[[], str], http: aiohttp.ClientSession
    ) -> None:
        self._gateway = GatewayClient(address, token, http)

    async def after(self, cursor: SyncSeqId, wait: float = 0.0) -> SyncBatch:
        """See `SyncSource`: one page. Waits for whole seconds, at most `LONGEST_WAIT`."""
        seconds = min(int(wait), LONGEST_WAIT)
        page = await self._gateway.sync(SyncQuery(after=cursor, limit=SYNC_PAGE, wait=seconds))
        return SyncBatch(cursor, list(map(arrived, page.records)), page.next, page.more)

    async def part(self, conv_id: str, span: Span) -> HistoryPart:
        """See `History`: one page.

        The answer 404 becomes an empty part: the store may not have received the conversation,
        or the person's join, yet.
        """
        query = MessagesQuery(first=span.first, last=span.last, limit=HISTORY_PAGE)
        try:
            page = await self._gateway.history(conv_id, query)
        except RequestRefused as refused:
            if refused.status != NOT_FOUND:
                raise
            return HistoryPart(conv_id, NO_SEQ, [])
        return HistoryPart(conv_id, page.head, [_item(conv_id, raw) for raw in page.items])

    async def conversations(self) -> list[Listed]:
        """See `History`: all pages."""
        found: list[Listed] = []
        after: str | None = None
        while True:
            query = ConversationsQuery(order="id", after=after, limit=LIST_PAGE)
            page = await self._gateway.conversations(query)
            found += map(_listed, page.conversations)
            if page.next is None:
                return found
            after = page.next


def arrived(item: SyncPageItem) -> Arrived:
    """Return a record of a page in the form that a device applies."""
    json = bytes(item.record)
    return Arrived(item.sync_seq, json, known_record(json))


def known_record(json: bytes) -> AnySyncRecord | None:
    """Return a sync record, or None if this version does not know its kind."""
    try:
        return decode_sync_record(json)
    except UndecodableRecord:
        return None


def _item(conv_id: str, raw: Raw) -> TimelineItem:
    place = decode_answer(bytes(raw), ItemPlace)
    if place.hole is not None:
        return TimelineItem(conv_id, place.first, place.last, place.hole, b"")
    return TimelineItem(conv_id, place.seq, place.seq, None, bytes(raw))


def _listed(shown: ConversationShown) -> Listed:
    return Listed(
        shown.conv_id, shown.head, shown.mode, shown.messages, shown.read, shown.unread,
        shown.periods[0].first, LocalDescription(shown.name or "", shown.metadata or ""),
        shown.mute,
    )  # fmt: skip
