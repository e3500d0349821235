"""HTTP requests to the gateway, with retries and typed errors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import aiohttp
import msgspec
import stamina
from msgspec import Struct
from yarl import URL

from schemas.errors import (
    ImError,
    RequestRefused,
    ServerUnavailable,
    TransientFailure,
    Trimmed,
    UndecodableRecord,
)

REQUEST_SECONDS: Final = 30.0
CONNECT_SECONDS: Final = 10.0
HEARTBEAT_SECONDS: Final = 20.0
"""Interval of WebSocket pings; the pong has to arrive within half of it."""

CLOSE_SECONDS: Final = 2.0
"""How long a closing WebSocket waits for the gateway's close frame."""

_ATTEMPTS: Final = 5
_LONGEST_PAUSE_SECONDS: Final = 1.0
_OK: Final = 200
NOT_FOUND: Final = 404
_GONE: Final = 410
_SERVER_ERROR: Final = 500
_TOO_MANY: Final = 429

AnswerT = TypeVar("AnswerT", bound=Struct)


class _Problem(Struct, frozen=True):
    """``cursor`` and ``oldest`` are present when records after the cursor have expired."""

    detail: str = "it gave no reason"
    cursor: int | None = None
    oldest: int | None = None


class GatewayHttp:
    """Sends the requests of one person to the gateway.

    Every method raises `ServerUnavailable` when the gateway does not answer after the retries,
    `RequestRefused` when a retry does not help, and `Trimmed` when records after a cursor have
    expired.

    Args:
        address: The gateway, such as ``http://127.0.0.1:8080``.
        token: Returns a bearer token of the person. Called for each request: tokens expire.
        http: The HTTP session.
    """

    def __init__(
        self, address: str, token: Callable[[], str], http: aiohttp.ClientSession
    ) -> None:
        self._address = address.rstrip("/")
        self._token = token
        self._http = http
        self._timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)

    async def get(
        self, path: str, answer: type[AnswerT], asked: Mapping[str, int | str | None]
    ) -> AnswerT:
        """Send a GET request with these parameters, those that are None left out."""
        given = {name: value for name, value in asked.items() if value is not None}
        url = URL(self._address + path, encoded=True).update_query(given)
        return await self._ask("GET", url, answer, None)

    async def send(
        self, method: str, path: str, answer: type[AnswerT], body: Mapping[str, int | str]
    ) -> AnswerT:
        """Send a request with a body. The request must be idempotent: it may be repeated."""
        url = URL(self._address + path, encoded=True)
        return await self._ask(method, url, answer, msgspec.json.encode(body))

    async def connect(
        self, path: str, asked: Mapping[str, int | str]
    ) -> aiohttp.ClientWebSocketResponse:
        """Open a WebSocket, in one attempt. Pings end a connection whose peer is silent.

        Raises:
            TransientFailure: The connection failed, for whatever reason.
        """
        url = URL(self._address + path, encoded=True).update_query(asked)
        headers = {"Authorization": f"Bearer {self._token()}"}
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await self._http.ws_connect(
                    url,
                    headers=headers,
                    heartbeat=HEARTBEAT_SECONDS,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
                )
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TransientFailure(f"no live connection: {type(error).__name__}") from None

    async def _ask(
        self, method: str, url: URL, answer: type[AnswerT], body: bytes | None
    ) -> AnswerT:
        try:
            async for attempt in stamina.retry_context(
                TransientFailure, attempts=_ATTEMPTS, wait_max=_LONGEST_PAUSE_SECONDS
            ):
                with attempt:
                    return decoded(await self._once(method, url, body), answer)
        except TransientFailure as error:
            raise ServerUnavailable(f"the gateway at {self._address}: {error}") from None
        raise AssertionError("the last attempt returns or raises")

    async def _once(self, method: str, url: URL, body: bytes | None) -> bytes:
        headers = {"Authorization": f"Bearer {self._token()}"}
        try:
            async with self._http.request(
                method, url, headers=headers, timeout=self._timeout, data=body
            ) as response:
                found = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TransientFailure(f"it does not answer: {type(error).__name__}") from None
        if response.status != _OK:
            raise _refusal(response.status, _problem(found))
        return found


def decoded(body: bytes, answer: type[AnswerT]) -> AnswerT:
    """Decode an answer.

    Raises:
        UndecodableRecord: This version does not know the answer's format.
    """
    try:
        return msgspec.json.decode(body, type=answer)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # The decoder's message may quote the input, which is the text of a message.
        raise UndecodableRecord(
            "the gateway's answer is not one that this version knows"
        ) from None


def _refusal(status: int, problem: _Problem) -> ImError:
    if status >= _SERVER_ERROR or status == _TOO_MANY:
        return TransientFailure(problem.detail)
    if status == _GONE and problem.cursor is not None and problem.oldest is not None:
        return Trimmed(problem.cursor, problem.oldest)
    return RequestRefused(status, problem.detail)


def _problem(body: bytes) -> _Problem:
    try:
        return msgspec.json.decode(body, type=_Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _Problem()
