"""Reads whole lists from the gateway, page by page, as one user."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

import aiohttp
from msgspec import Raw

from consumers.gateway_client import GatewayClient
from gateway.http.tokens import issue_token
from ops.deployment.endpoints import gateway_address
from schemas.http.answers import ConversationShown, SyncPageItem
from schemas.http.queries import (
    MAX_CONVERSATIONS,
    MAX_HITS,
    ConversationsQuery,
    MessagesQuery,
    SearchQuery,
    SyncQuery,
)
from schemas.number_types import FIRST_SEQ, SeqId, SyncSeqId
from schemas.settings import Settings

PAGE: Final = 200
_TOKEN_LIFETIME: Final = timedelta(minutes=1)
"""Each request carries a new token."""


class GatewayReader:
    """Reads with the rights of one user. Errors: see `GatewayClient`.

    Args:
        settings: The address of the gateway, and the secret that signs tokens.
        user: The reader.
        http: The HTTP session.
    """

    def __init__(self, settings: Settings, user: str, http: aiohttp.ClientSession) -> None:
        self._client = GatewayClient(
            f"http://{gateway_address(settings)}",
            lambda: issue_token(settings, user, _TOKEN_LIFETIME),
            http,
        )

    async def history(
        self, conv_id: str, first: int | None, last: int | None
    ) -> AsyncIterator[Raw]:
        """Entries and holes of a range, ascending. Without ``last``: up to the present head."""
        begin: SeqId | None = SeqId(first or FIRST_SEQ)
        end = None if last is None else SeqId(last)
        while begin is not None:
            query = MessagesQuery(first=begin, last=end, limit=PAGE)
            page = await self._client.history(conv_id, query)
            for item in page.items:
                yield item
            begin = page.next
            end = end or page.head  # fixes the end: a busy conversation grows during the read

    async def conversations(self) -> AsyncIterator[ConversationShown]:
        """All present and former conversations of the user, by id."""
        after: str | None = None
        while True:
            query = ConversationsQuery(order="id", after=after, limit=MAX_CONVERSATIONS)
            page = await self._client.conversations(query)
            for conversation in page.conversations:
                yield conversation
            after = page.next
            if after is None:
                break

    async def sync(self, after: int | None, limit: int | None) -> AsyncIterator[SyncPageItem]:
        """Records above a cursor, at most ``limit`` in all."""
        cursor = SyncSeqId(-1 if after is None else after)
        left = limit
        while left is None or left > 0:
            count = PAGE if left is None else min(PAGE, left)
            page = await self._client.sync(SyncQuery(after=cursor, limit=count))
            for record in page.records:
                yield record
            if not page.more:
                break
            cursor = page.next
            left = None if left is None else left - len(page.records)

    async def search(self, query: str, limit: int | None) -> AsyncIterator[Raw]:
        """Messages that match a query, newest first, at most ``limit`` in all."""
        cursor: str | None = None
        left = limit
        while left is None or left > 0:
            count = MAX_HITS if left is None else min(MAX_HITS, left)
            page = await self._client.search(SearchQuery(q=query, limit=count, cursor=cursor))
            for hit in page.hits:
                yield hit
            cursor = page.next
            if cursor is None:
                break
            left = None if left is None else left - len(page.hits)
