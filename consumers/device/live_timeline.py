"""The sync timeline and the heads of pulled conversations, pushed over a live connection.

The connections are those of `im_timeline_client.live_source`, with the batches of a device. While
the gateway is polled, and in the first batch of each connection, ``heads`` is None: heads are not
pushed yet. A device that queries all heads after this batch misses none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import aiohttp
import msgspec

from consumers.device.gateway_timeline import SYNC_PAGE, GatewayTimelines, arrived
from consumers.device.knowledge import BEFORE_ALL, SyncBatch
from consumers.gateway_client import GatewayClient
from im_timeline_client.live_source import LiveSource
from schemas.errors import Trimmed
from schemas.http.answers import ProblemDetails
from schemas.http.live_messages import LiveBegun, LiveHead, LiveProblem, LiveRecords
from schemas.http.queries import LiveQuery
from schemas.number_types import SyncSeqId

LiveMessage: TypeAlias = LiveBegun | LiveRecords | LiveHead | LiveProblem
"""Any message that `/v1/live` sends to a device."""

_decoder: Final[msgspec.json.Decoder[LiveMessage]] = msgspec.json.Decoder(LiveMessage)


class LiveTimelines:
    """`SyncSource` of one person over a live connection. Arguments: see `GatewayTimelines`.

    After the first call of `after`, the caller has to call `aclose` at the end.
    """

    def __init__(
        self, address: str, token: Callable[[], str], http: aiohttp.ClientSession
    ) -> None:
        self._source = LiveSource(_DeviceTimeline(address, token, http), BEFORE_ALL)

    async def after(self, cursor: SyncSeqId, wait: float = 0.0) -> SyncBatch:
        """See `SyncSource`: the next pushed batch, or a polled page without a connection."""
        return await self._source.after(cursor, wait)

    async def set_active(self, *, is_active: bool) -> None:
        """Say whether the owner looks at the device: see docs/push.md. At first the owner does."""
        await self._source.set_active(is_active=is_active)

    async def aclose(self) -> None:
        """Close the connection. May be called again."""
        await self._source.aclose()


class _DeviceTimeline:
    """`LiveTimeline` with the messages of `schemas.http` and the batches of a device."""

    def __init__(
        self, address: str, token: Callable[[], str], http: aiohttp.ClientSession
    ) -> None:
        self._gateway = GatewayClient(address, token, http)
        self._polling = GatewayTimelines(address, token, http)

    async def poll(self, cursor: int, wait: float) -> SyncBatch:
        return await self._polling.after(SyncSeqId(cursor), wait)

    async def open(self, cursor: int) -> aiohttp.ClientWebSocketResponse:
        return await self._gateway.live(LiveQuery(after=SyncSeqId(cursor), limit=SYNC_PAGE))

    def decode(self, text: str) -> LiveMessage:
        return _decoder.decode(text)  # a `msgspec.DecodeError` is a `ValueError`

    def is_begin(self, message: LiveMessage) -> bool:
        return isinstance(message, LiveBegun)

    def cursor_after(self, message: LiveMessage) -> int | None:
        return message.next if isinstance(message, LiveRecords) else None

    def begun(self, cursor: int) -> SyncBatch:
        return SyncBatch(None, (), SyncSeqId(cursor), more=False)

    def batch(self, message: LiveMessage | None, before: int, cursor: int) -> SyncBatch:
        match message:
            case LiveRecords(records=items, next=end, more=more):
                records = list(map(arrived, items))
                return SyncBatch(SyncSeqId(before), records, end, more, heads={})
            case LiveHead(conv_id=conv_id, seq=seq):
                heads = {conv_id: seq}
                return SyncBatch(None, (), SyncSeqId(cursor), more=False, heads=heads)
            case LiveProblem(problem=ProblemDetails(cursor=int(given), oldest=int(oldest))) if (
                oldest - 1 > cursor
            ):
                raise Trimmed(given, oldest)
        return SyncBatch(None, (), SyncSeqId(cursor), more=False, heads={})
