"""HTTP requests and live connections of one person: tokens, timeouts, retries and typed errors.

The bodies of requests and answers are bytes here: `im_timeline_client.client` uses JSON.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeAlias

import aiohttp
from yarl import URL

from im_timeline_client.backoff import pauses
from im_timeline_client.decoding import parsed
from im_timeline_client.errors import (
    ClientClosed,
    CursorAhead,
    GatewayUnavailable,
    ImError,
    RequestRefused,
    Trimmed,
    UnexpectedAnswer,
)

Token: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""A bearer token, or a function that returns one. The function is called for each request."""

Query: TypeAlias = Mapping[str, str | int]

REQUEST_SECONDS: Final = 30.0
"""The timeout of a request; longer than the longest wait of the gateway plus its work."""

CONNECT_SECONDS: Final = 10.0
"""How long a live connection may take to open."""

HEARTBEAT_SECONDS: Final = 20.0
"""Interval of WebSocket pings; the pong has to arrive within half of it."""

CLOSE_SECONDS: Final = 2.0
"""How long a closing WebSocket waits for the gateway's close frame."""

ATTEMPTS: Final = 5
FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 1.0
LONGEST_RETRY_AFTER_SECONDS: Final = 10.0
"""A longer `Retry-After` counts as this."""

UNAUTHORIZED: Final = 401

_PROBLEM: Final = "urn:im-timeline:problem:"
_REQUEST_TIMEOUT: Final = 408
_GONE: Final = 410
_SUCCESS: Final = range(200, 300)
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500
_BEFORE_ANY_EFFECT: Final = frozenset({_REQUEST_TIMEOUT, _TOO_MANY, 503})
"""Answers of a gateway that has not sent the command."""


class HttpAnswer(NamedTuple):
    """The answer to a request that succeeded."""

    status: int
    body: bytes


class GatewayHttp:
    """Sends the requests of one person.

    With a function as token, a request that is refused with 401 is sent once more if the function
    then returns another token.

    Args:
        address: The gateway, such as ``http://127.0.0.1:8080``.
        token: See `Token`.
        http: The HTTP session, which the caller closes.
    """

    def __init__(self, address: str, token: Token, http: aiohttp.ClientSession) -> None:
        self.address = address.rstrip("/")
        self._token = token
        self._http = http
        self._timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)

    async def bearer(self) -> str:
        """Return a token. Any error of the function passes through.

        Raises:
            GatewayUnavailable: The function has not returned within `REQUEST_SECONDS`.
        """
        if isinstance(self._token, str):
            return self._token
        given = self._token()
        if isinstance(given, str):
            return given
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                return await given
        except TimeoutError:
            raise GatewayUnavailable("the function for the token does not return") from None

    async def send(
        self, method: str, path: str, *, query: Query | None = None, body: bytes | None = None
    ) -> HttpAnswer:
        """Send a request that may be repeated, up to `ATTEMPTS` times. Errors: see `once`."""
        between = pauses(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        for _ in range(ATTEMPTS - 1):
            try:
                return await self.once(method, path, query=query, body=body)
            except GatewayUnavailable as failure:
                pause = max(failure.retry_after, next(between))
            await asyncio.sleep(pause)
        return await self.once(method, path, query=query, body=body)

    async def once(
        self, method: str, path: str, *, query: Query | None = None, body: bytes | None = None
    ) -> HttpAnswer:
        """Send a request in one attempt.

        Raises:
            GatewayUnavailable: The gateway does not answer now, or answers 408, 429 or 5xx.
            RequestRefused: The gateway refuses the request, and a retry does not help.
            Trimmed: Records after the cursor have expired.
            ClientClosed: The session is closed.
        """
        url = URL(self.address + path, encoded=True).update_query(query or {})
        bearer = await self.bearer()
        try:
            return await self._attempt(method, url, body, bearer)
        except RequestRefused as refused:
            fresh = await self.bearer() if refused.status == UNAUTHORIZED else bearer
            if fresh == bearer:
                raise
        return await self._attempt(method, url, body, fresh)

    async def live(self, path: str, query: Query) -> aiohttp.ClientWebSocketResponse:
        """Open a live connection, in one attempt. Pings end a connection whose peer is silent.

        Raises:
            GatewayUnavailable: The connection failed, for whatever reason. If the reason is the
                token, the next request reports it.
        """
        url = URL(self.address + path).update_query(query)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await self._http.ws_connect(
                    url,
                    headers=_headers(await self.bearer()),
                    heartbeat=HEARTBEAT_SECONDS,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
                )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise GatewayUnavailable(f"no live connection: {type(error).__name__}") from None

    async def _attempt(self, method: str, url: URL, body: bytes | None, bearer: str) -> HttpAnswer:
        if self._http.closed:
            raise ClientClosed("the client is not open")
        try:
            async with self._http.request(
                method, url, headers=_headers(bearer), data=body, timeout=self._timeout,
                allow_redirects=False,
            ) as response:  # fmt: skip
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise GatewayUnavailable(
                f"the gateway at {self.address} does not answer: {type(error).__name__}",
                is_effect_possible=not isinstance(error, aiohttp.ClientConnectorError),
            ) from None
        if response.status in _SUCCESS:
            return HttpAnswer(response.status, content)
        retry_after = response.headers.get("Retry-After", "")
        raise _failure(self.address, response.status, retry_after, content)


def _headers(bearer: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {bearer}"}


def _failure(address: str, status: int, retry_after: str, content: bytes) -> ImError:
    """Return the error of an answer. A proxy may send another body than a problem (RFC 9457)."""
    problem: dict[str, Any] = {}
    with suppress(UnexpectedAnswer):
        given = parsed(content)
        problem = given if isinstance(given, dict) else {}
    detail = str(problem.get("detail", "it gave no reason"))
    if status >= _SERVER_ERROR or status in _BEFORE_ANY_EFFECT:
        return GatewayUnavailable(
            f"the gateway at {address} answers {status}: {detail}",
            retry_after=_seconds(retry_after),
            is_effect_possible=status not in _BEFORE_ANY_EFFECT,
        )
    match problem:
        case {"cursor": int(cursor), "oldest": int(oldest)} if status == _GONE:
            return Trimmed(cursor, oldest)
    kind = str(problem.get("type", "http")).removeprefix(_PROBLEM)
    if kind == CursorAhead.KIND:
        return CursorAhead(status, kind, detail)
    code = problem.get("code")
    return RequestRefused(status, kind, detail, code if isinstance(code, str) else None)


def _seconds(retry_after: str) -> float:
    try:
        return min(max(float(retry_after), 0.0), LONGEST_RETRY_AFTER_SECONDS)
    except ValueError:  # absent, or a date
        return 0.0
