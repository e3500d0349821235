"""The gateway's HTTP: the requests of the client for Python, with the types of `schemas.http`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from msgspec import Raw, Struct

from im_timeline_client import errors
from im_timeline_client.transport import GatewayHttp, HttpAnswer
from schemas.codec import encode
from schemas.errors import (
    CursorAhead,
    RequestRefused,
    ServerUnavailable,
    Trimmed,
    UndecodableRecord,
)
from schemas.http.answers import (
    ConversationsPage,
    HistoryPage,
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
    SearchQuery,
    SyncQuery,
)
from schemas.number_types import SyncSeqId

NOT_FOUND: Final = 404

AnswerT = TypeVar("AnswerT", bound=Struct)


class GatewayClient:
    """Sends the requests of one person to the gateway.

    A request is repeated when the gateway does not answer, or answers 429 or 5xx. Every method
    except `live` raises `ServerUnavailable` when the repetitions fail too, `RequestRefused` when a
    retry does not help, `CursorAhead` when a cursor is beyond the end of the log, `Trimmed` when
    records after a cursor have expired, and `UndecodableRecord` when this version does not know
    the format of the answer.

    Args:
        address: The gateway, such as ``http://127.0.0.1:8080``.
        token: Returns a bearer token of the person. Called for each request: tokens expire.
        http: The HTTP session.
    """

    def __init__(
        self, address: str, token: Callable[[], str], http: aiohttp.ClientSession
    ) -> None:
        self._http = GatewayHttp(address, token, http)

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
        """Opens a live connection, in one attempt. Errors: see `GatewayHttp.live`."""
        return await self._http.live("/v1/live", msgspec.to_builtins(query))

    async def _get(self, path: str, query: Struct, answer: type[AnswerT]) -> AnswerT:
        sending = self._http.send("GET", path, query=msgspec.to_builtins(query))
        return decode_answer((await self._translated(sending)).body, answer)

    async def _send(self, method: str, path: str, body: Struct, answer: type[AnswerT]) -> AnswerT:
        """Sends a request with a body. The request must be idempotent: it may be repeated."""
        sending = self._http.send(method, path, body=encode(body))
        return decode_answer((await self._translated(sending)).body, answer)

    async def _translated(self, sending: Awaitable[HttpAnswer]) -> HttpAnswer:
        """The answer; errors of the client become those of `schemas.errors`."""
        try:
            return await sending
        except errors.GatewayUnavailable as failure:
            raise ServerUnavailable(str(failure)) from None
        except errors.CursorAhead:
            raise CursorAhead("of the device") from None
        except errors.RequestRefused as refused:
            raise RequestRefused(refused.status, refused.detail) from None
        except errors.Trimmed as trimmed:
            cursor, oldest = SyncSeqId(trimmed.cursor), SyncSeqId(trimmed.oldest)
            raise Trimmed(cursor, oldest) from None


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
