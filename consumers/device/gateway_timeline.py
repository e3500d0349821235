"""The sync timeline and the store, over HTTP from the gateway."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import quote

import aiohttp
from msgspec import Raw, Struct, field

from consumers.device.http_client import NOT_FOUND, GatewayHttp, decoded
from consumers.device.knowledge import Arrived, HistoryPart, Listed, SyncBatch, TimelineItem
from consumers.device.spans import Span
from schemas.codec import decode_sync_record
from schemas.errors import RequestRefused, UndecodableRecord
from schemas.records import AnySyncRecord, FanoutMode

LONGEST_WAIT: Final = 20
"""Maximum wait parameter, in seconds; well below the timeout of a request."""

SYNC_PAGE: Final = 500
HISTORY_PAGE: Final = 500
LIST_PAGE: Final = 200


class SyncLine(Struct, frozen=True):
    """A record in a page of a sync timeline."""

    sync_seq: int
    record: Raw

    def arrived(self) -> Arrived:
        """Return the record in the form that a device applies."""
        json = bytes(self.record)
        return Arrived(self.sync_seq, json, known_record(json))


class _Sync(Struct, frozen=True):
    records: list[SyncLine]
    next: int
    more: bool


class _Item(Struct, frozen=True):
    """An entry, decoded only as far as its SeqId, or a hole."""

    seq: int = 0
    hole: str | None = None
    first: int = field(name="from", default=0)
    last: int = field(name="to", default=0)


class _History(Struct, frozen=True):
    head: int
    items: list[Raw]


class _Period(Struct, frozen=True):
    first: int


class _Conversation(Struct, frozen=True):
    conv_id: str
    head: int
    mode: FanoutMode | None
    messages: int
    read: int
    unread: int
    periods: list[_Period]

    def listed(self) -> Listed:
        return Listed(
            self.conv_id, self.head, self.mode, self.messages, self.read, self.unread,
            self.periods[0].first,
        )  # fmt: skip


class _Conversations(Struct, frozen=True):
    conversations: list[_Conversation]
    next: str | None


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
        self._gateway = GatewayHttp(address, token, http)

    async def after(self, cursor: int, wait: float = 0.0) -> SyncBatch:
        """See `SyncSource`: one page. Waits for whole seconds, at most `LONGEST_WAIT`."""
        asked = {"after": cursor, "limit": SYNC_PAGE}
        if wait >= 1:
            asked["wait"] = min(int(wait), LONGEST_WAIT)
        page = await self._gateway.get("/v1/sync", _Sync, asked)
        arrived = [line.arrived() for line in page.records]
        return SyncBatch(cursor, arrived, page.next, page.more)

    async def part(self, conv_id: str, span: Span) -> HistoryPart:
        """See `History`: one page.

        The answer 404 becomes an empty part: the store may not have received the conversation,
        or the person's join, yet.
        """
        path = f"/v1/conversations/{quote(conv_id, safe='')}/messages"
        asked = {"from": span.first, "to": span.last, "limit": HISTORY_PAGE}
        try:
            page = await self._gateway.get(path, _History, asked)
        except RequestRefused as refused:
            if refused.status != NOT_FOUND:
                raise
            return HistoryPart(conv_id, 0, [])
        return HistoryPart(conv_id, page.head, [_item(conv_id, raw) for raw in page.items])

    async def conversations(self) -> list[Listed]:
        """See `History`: all pages."""
        found: list[Listed] = []
        after: str | None = None
        while True:
            page = await self._gateway.get(
                "/v1/conversations", _Conversations, {"after": after, "limit": LIST_PAGE}
            )
            found += [each.listed() for each in page.conversations]
            if page.next is None:
                return found
            after = page.next


def known_record(json: bytes) -> AnySyncRecord | None:
    """Return a sync record, or None if this version does not know its kind."""
    try:
        return decode_sync_record(json)
    except UndecodableRecord:
        return None


def _item(conv_id: str, raw: Raw) -> TimelineItem:
    item = decoded(bytes(raw), _Item)
    if item.hole is not None:
        return TimelineItem(conv_id, item.first, item.last, item.hole, b"")
    return TimelineItem(conv_id, item.seq, item.seq, None, bytes(raw))
