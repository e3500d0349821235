"""Requests to the gateway with typed answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, TypeVar

import aiohttp

from im_timeline_client.answers import Conversation, HistoryPage, SyncPage
from im_timeline_client.decoding import decoded, parsed
from im_timeline_client.errors import RequestRefused
from im_timeline_client.following import Gap
from im_timeline_client.routes import CONVERSATIONS, HISTORY, LIVE, SYNC, Route
from im_timeline_client.transport import GatewayHttp

T = TypeVar("T")

LIST_PAGE: Final = 200
HISTORY_PAGE: Final = 500
SYNC_PAGE: Final = 500
"""The maximum numbers of items of a page: conversations, entries, records."""

LONGEST_WAIT_SECONDS: Final = 20
"""The longest wait of a request for new records; the gateway permits 30 s."""

NOT_FOUND: Final = 404


class Gateway:
    """The gateway as one person uses it. Errors of all methods: see `GatewayHttp.once`.

    Args:
        http: The requests of the person.
    """

    def __init__(self, http: GatewayHttp) -> None:
        self.http = http

    async def read(self, route: Route[T], path: str, **query: str | int | None) -> T:
        """Return the answer to a request that reads. Parameters that are None are left out.

        A parameter whose name is a keyword of Python has an underscore at its end.

        Raises:
            UnexpectedAnswer: This version does not know the format of the answer.
        """
        given = {name.rstrip("_"): value for name, value in query.items() if value is not None}
        answer = await self.http.send(route.method, path, query=given)
        return decoded(route.answer, parsed(answer.body))

    async def write(self, route: Route[T], path: str, body: dict[str, object]) -> T | None:
        """Send a command in one attempt; return None if its outcome is not known yet."""
        content = json.dumps(body, ensure_ascii=False).encode()
        answer = await self.http.once(route.method, path, body=content)
        if answer.status == 202:  # noqa: PLR2004 - "Accepted"
            return None
        return decoded(route.answer, parsed(answer.body))

    async def change(
        self, route: Route[Any], path: str, body: Mapping[str, object] | None = None
    ) -> None:
        """Send a request that changes something and may be repeated; its answer does not count."""
        content = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        await self.http.send(route.method, path, body=content)

    async def conversations(self, order: str = "id") -> AsyncIterator[Conversation]:
        """Yield all conversations of the person, page by page."""
        after: str | None = None
        while True:
            path = CONVERSATIONS.at()
            page = await self.read(CONVERSATIONS, path, order=order, after=after, limit=LIST_PAGE)
            for each in page.conversations:
                yield each
            after = page.next
            if after is None:
                return

    async def sync(self, cursor: int, wait: float = 0.0) -> SyncPage:
        """Return a page of the sync timeline above a cursor; wait for the first record.

        Raises:
            Trimmed: Records after the cursor have expired.
        """
        seconds = min(int(wait), LONGEST_WAIT_SECONDS) or None
        return await self.read(SYNC, SYNC.at(), after=cursor, limit=SYNC_PAGE, wait=seconds)

    async def part(self, gap: Gap) -> HistoryPage:
        """Return the first part of a gap; empty if the store does not have it yet."""
        path = HISTORY.at(id=gap.conv_id)
        try:
            return await self.read(HISTORY, path, from_=gap.first, to=gap.last, limit=HISTORY_PAGE)
        except RequestRefused as refused:
            if refused.status != NOT_FOUND:
                raise
            return HistoryPage(gap.conv_id, 0, (), None)

    async def live(self, cursor: int) -> aiohttp.ClientWebSocketResponse:
        """Open a live connection after a cursor. Errors: see `GatewayHttp.live`."""
        return await self.http.live(LIVE, {"after": cursor, "limit": SYNC_PAGE})
