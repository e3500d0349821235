"""The client of the gateway's HTTP: requests with retries, typed answers and typed errors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
import stamina
from msgspec import Raw, Struct
from yarl import URL

from schemas.codec import encode
from schemas.errors import (
    ImError,
    RequestRefused,
    ServerUnavailable,
    TransientFailure,
    Trimmed,
    UndecodableRecord,
)
from schemas.http.answers import (
    ConversationsPage,
    HistoryPage,
    ProblemDetails,
    SearchPage,
    SyncPage,
)
from schemas.http.bodies import MoveCursor, RegisterDevice
from schemas.http.device_answers import BeginningsPage, DeviceShown
from schemas.http.queries import (
    BeginningsQuery,
    ConversationsQuery,
    LiveQuery,
    MessagesQuery,
    NoQuery,
    SearchQuery,
    SyncQuery,
)

REQUEST_SECONDS: Final = 30.0
CONNECT_SECONDS: Final = 10.0
HEARTBEAT_SECONDS: Final = 20.0
"""Interval of WebSocket pings; the pong has to arrive within half of it."""

CLOSE_SECONDS: Final = 2.0
"""How long a closing WebSocket waits for the gateway's close frame."""

NOT_FOUND: Final = 404

_ATTEMPTS: Final = 5
_LONGEST_PAUSE_SECONDS: Final = 1.0
_OK: Final = 200
_GONE: Final = 410
_SERVER_ERROR: Final = 500
_TOO_MANY: Final = 429

AnswerT = TypeVar("AnswerT", bound=Struct)


class GatewayClient:
    """Sends the requests of one person to the gateway.

    A request is repeated when the gateway does not answer, or answers 429 or 5xx. Every method
    except `live` raises `ServerUnavailable` when the repetitions fail too, `RequestRefused` when a
    retry does not help, `Trimmed` when records after a cursor have expired, and
    `UndecodableRecord` when this version does not know the format of the answer.

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

    async def conversations(self, query: ConversationsQuery) -> ConversationsPage:
        """A page of the person's conversations."""
        return await self._get("/v1/conversations", query, ConversationsPage)

    async def history(self, conv_id: str, query: MessagesQuery) -> HistoryPage[Raw]:
        """A page of a conversation timeline."""
        path = f"/v1/conversations/{_quoted(conv_id)}/messages"
        return await self._get(path, query, HistoryPage[Raw])

    async def sync(self, query: SyncQuery) -> SyncPage:
        """A page of the person's sync timeline."""
        return await self._get("/v1/sync", query, SyncPage)

    async def search(self, query: SearchQuery) -> SearchPage:
        """A page of hits."""
        return await self._get("/v1/search", query, SearchPage)

    async def register(self, body: RegisterDevice) -> DeviceShown:
        """Registers a device."""
        return await self._send("POST", "/v1/devices", body, DeviceShown)

    async def move_cursor(self, device_id: str, body: MoveCursor) -> DeviceShown:
        """Moves the cursor of a device forward."""
        path = f"/v1/devices/{_quoted(device_id)}/cursor"
        return await self._send("PUT", path, body, DeviceShown)

    async def beginnings(self, device_id: str, query: BeginningsQuery) -> BeginningsPage:
        """A page of the first SeqIds that a device shows."""
        path = f"/v1/devices/{_quoted(device_id)}/conversations"
        return await self._get(path, query, BeginningsPage)

    async def live(self, query: LiveQuery) -> aiohttp.ClientWebSocketResponse:
        """Opens a live connection, in one attempt. Pings end a connection whose peer is silent.

        Raises:
            TransientFailure: The connection failed, for whatever reason.
        """
        headers = {"Authorization": f"Bearer {self._token()}"}
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await self._http.ws_connect(
                    self._url("/v1/live", query),
                    headers=headers,
                    heartbeat=HEARTBEAT_SECONDS,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
                )
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TransientFailure(f"no live connection: {type(error).__name__}") from None

    def _url(self, path: str, query: Struct) -> URL:
        """The URL of a path, with the parameters that differ from their defaults."""
        return URL(self._address + path, encoded=True).update_query(msgspec.to_builtins(query))

    async def _get(self, path: str, query: Struct, answer: type[AnswerT]) -> AnswerT:
        return await self._request("GET", self._url(path, query), answer, None)

    async def _send(self, method: str, path: str, body: Struct, answer: type[AnswerT]) -> AnswerT:
        """Sends a request with a body. The request must be idempotent: it may be repeated."""
        return await self._request(method, self._url(path, NoQuery()), answer, encode(body))

    async def _request(
        self, method: str, url: URL, answer: type[AnswerT], body: bytes | None
    ) -> AnswerT:
        try:
            async for attempt in stamina.retry_context(
                TransientFailure, attempts=_ATTEMPTS, wait_max=_LONGEST_PAUSE_SECONDS
            ):
                with attempt:
                    return decode_answer(await self._once(method, url, body), answer)
        except TransientFailure as error:
            raise ServerUnavailable(f"the gateway at {self._address}: {error}") from None
        raise AssertionError("the last attempt returns or raises")

    async def _once(self, method: str, url: URL, body: bytes | None) -> bytes:
        headers = {"Authorization": f"Bearer {self._token()}"}
        try:
            async with self._http.request(
                method, url, headers=headers, timeout=self._timeout, data=body
            ) as response:
                body_bytes = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TransientFailure(f"it does not answer: {type(error).__name__}") from None
        if response.status != _OK:
            raise _refusal(self._address, response.status, body_bytes)
        return body_bytes


def decode_answer(body: bytes, answer: type[AnswerT]) -> AnswerT:
    """Decodes an answer, or a part of one.

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


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _refusal(address: str, status: int, body: bytes) -> ImError:
    problem = _problem(address, status, body)
    if status >= _SERVER_ERROR or status == _TOO_MANY:
        return TransientFailure(problem.detail)
    match problem:
        case ProblemDetails(cursor=int(cursor), oldest=int(oldest)) if status == _GONE:
            return Trimmed(cursor, oldest)
    return RequestRefused(status, problem.detail)


def _problem(address: str, status: int, body: bytes) -> ProblemDetails:
    """The problem in a body. A proxy may send another body, or leave out members (RFC 9457)."""
    detail = f"{address} gave no reason"
    blank = ProblemDetails(
        type="about:blank", title="", status=status, detail=detail, request_id=""
    )
    try:
        given = msgspec.json.decode(body, type=dict[str, Any])
        return msgspec.convert(msgspec.to_builtins(blank) | given, ProblemDetails)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return blank
