"""Read pages from the gateway over HTTP, as one user."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Final, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
import stamina
from msgspec import Raw, Struct
from yarl import URL

from gateway.http.tokens import issue_token
from ops.deployment.endpoints import gateway_address
from schemas.errors import ImError, ServerUnavailable, TransientFailure
from schemas.settings import Settings

REQUEST_SECONDS: Final = 30.0
PAGE: Final = 200
HITS_A_PAGE: Final = 100
_TOKEN_LIFETIME: Final = timedelta(minutes=1)
"""Each request carries a new token."""

_ATTEMPTS: Final = 5
_SERVICE_UNAVAILABLE: Final = 503

PageT = TypeVar("PageT", bound=Struct)


class GatewayRefused(ImError):
    """The gateway returned an error response. The message has the status and the detail."""


class SyncLine(Struct, frozen=True):
    """One record of a sync timeline."""

    sync_seq: int
    record: Raw


class _Messages(Struct, frozen=True):
    head: int
    items: list[Raw]
    next: int | None


class _Sync(Struct, frozen=True):
    records: list[SyncLine]
    next: int
    more: bool


class _Conversations(Struct, frozen=True):
    conversations: list[Raw]
    next: str | None


class _Hits(Struct, frozen=True):
    hits: list[Raw]
    next: str | None


class _Problem(Struct, frozen=True):
    detail: str = "it gave no reason"


class GatewayClient:
    """Reads with the rights of one user.

    Every method raises `ServerUnavailable` when the gateway, or a server behind the gateway, does
    not answer, and `GatewayRefused` when the response is an error.

    Args:
        settings: The address of the gateway, and the secret that signs tokens.
        user: The reader.
        http: The HTTP session.
    """

    def __init__(self, settings: Settings, user: str, http: aiohttp.ClientSession) -> None:
        self._settings = settings
        self._user = user
        self._http = http
        self._address = gateway_address(settings)

    async def history(
        self, conv_id: str, first: int | None, last: int | None
    ) -> AsyncIterator[Raw]:
        """Entries and holes of a range, ascending. Without ``last``: up to the present head."""
        path = f"/v1/conversations/{quote(conv_id, safe='')}/messages"
        begin: int | None = first or 1
        while begin is not None:
            page = await self._get(path, _Messages, {"from": begin, "to": last, "limit": PAGE})
            for item in page.items:
                yield item
            begin = page.next
            last = last or page.head  # fixes the end: a busy conversation grows during the read

    async def conversations(self) -> AsyncIterator[Raw]:
        """All present and former conversations of the user, by id."""
        after: str | None = None
        while True:
            asked = {"after": after, "limit": PAGE}
            page = await self._get("/v1/conversations", _Conversations, asked)
            for conversation in page.conversations:
                yield conversation
            after = page.next
            if after is None:
                break

    async def sync(self, after: int | None, limit: int | None) -> AsyncIterator[SyncLine]:
        """Records above a cursor, at most ``limit`` in all."""
        left = limit
        while left is None or left > 0:
            count = PAGE if left is None else min(PAGE, left)
            page = await self._get("/v1/sync", _Sync, {"after": after, "limit": count})
            for record in page.records:
                yield record
            if not page.more:
                break
            after = page.next
            left = None if left is None else left - len(page.records)

    async def search(self, query: str, limit: int | None) -> AsyncIterator[Raw]:
        """Messages that match a query, newest first, at most ``limit`` in all."""
        cursor: str | None = None
        left = limit
        while left is None or left > 0:
            count = HITS_A_PAGE if left is None else min(HITS_A_PAGE, left)
            page = await self._get(
                "/v1/search", _Hits, {"q": query, "limit": count, "cursor": cursor}
            )
            for hit in page.hits:
                yield hit
            cursor = page.next
            if cursor is None:
                break
            left = None if left is None else left - len(page.hits)

    async def _get(
        self, path: str, page: type[PageT], asked: Mapping[str, int | str | None]
    ) -> PageT:
        url = URL(f"http://{self._address}{path}", encoded=True)
        given = {name: value for name, value in asked.items() if value is not None}
        try:
            async for attempt in stamina.retry_context(TransientFailure, attempts=_ATTEMPTS):
                with attempt:
                    return await self._once(url, page, given)
        except TransientFailure as error:
            raise ServerUnavailable(f"the gateway at {self._address}: {error}") from None
        raise AssertionError("the last attempt returns or raises")

    async def _once(self, url: URL, page: type[PageT], given: dict[str, int | str]) -> PageT:
        token = issue_token(self._settings, self._user, _TOKEN_LIFETIME)
        headers = {"Authorization": f"Bearer {token}"}
        try:
            async with self._http.get(url.update_query(given), headers=headers) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError):
            raise ServerUnavailable(
                f"the gateway does not answer at {self._address}: start it with `im up`"
            ) from None
        if response.status == _SERVICE_UNAVAILABLE:
            raise TransientFailure(_detail(body))
        if not response.ok:
            raise GatewayRefused(
                f"the gateway at {self._address} refuses ({response.status}): {_detail(body)}"
            )
        try:
            return msgspec.json.decode(body, type=page)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise ServerUnavailable(
                f"the program at {self._address} is not a gateway of this version: "
                "IM_GATEWAY_HOST and IM_GATEWAY_PORT set the gateway's address"
            ) from None


def _detail(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Problem).detail
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _Problem().detail
