"""One live connection to the gateway: its messages, in order, until it ends.

A separate task reads the connection, so that pings are answered while the device is busy. A small
queue holds messages that the device has not taken. When the queue is full, reading stops, and the
gateway ends a connection whose peer does not read.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final, TypeAlias

import aiohttp
import msgspec

from schemas.errors import ImError, TransientFailure
from schemas.http.live_messages import LiveBegun, LiveHead, LiveProblem, LiveRecords
from schemas.number_types import SyncSeqId

QUEUED_MESSAGES: Final = 8
"""Capacity of the queue, in messages; each may be a page of one megabyte."""

BEGIN_SECONDS: Final = 10.0
"""Timeout of the first message; the gateway waits for its store."""

TAKEN_SECONDS: Final = 60.0
"""How long the queue may stay full until the connection ends."""


LiveMessage: TypeAlias = LiveBegun | LiveRecords | LiveHead | LiveProblem
"""Any message that `/v1/live` sends."""

_decoder: Final[msgspec.json.Decoder[LiveMessage]] = msgspec.json.Decoder(LiveMessage)


class LinkOver(ImError):
    """The connection has ended and its queue is empty. Internal to `consumers.device`."""


class GatewayEnds(TransientFailure):
    """The gateway has closed the connection because it is about to end; others serve on."""


class LiveLink:
    """One connection. ``cursor``: the next message to take follows this cursor.

    Args:
        socket: The WebSocket, opened with this cursor.
        cursor: The device's cursor.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, cursor: SyncSeqId) -> None:
        self.cursor = cursor
        self.is_new = True
        self._socket = socket
        self._is_over = False
        self._messages: asyncio.Queue[LiveMessage | None] = asyncio.Queue(QUEUED_MESSAGES)

    async def begin(self) -> None:
        """Wait for the message that the push has begun.

        Raises:
            TransientFailure: The message did not arrive within `BEGIN_SECONDS`.
        """
        try:
            async with asyncio.timeout(BEGIN_SECONDS):
                first = await self._receive()
        except TimeoutError:
            raise TransientFailure("the live connection does not begin") from None
        if not isinstance(first, LiveBegun):
            raise TransientFailure("the live connection begins with something else")

    async def listen(self) -> None:
        """Put messages into the queue until the connection ends.

        Raises:
            GatewayEnds: The gateway is about to end.
            TransientFailure: The connection ended, or the queue stayed full for `TAKEN_SECONDS`.
                This method never returns.
        """
        try:
            while True:
                message = await self._receive()
                async with asyncio.timeout(TAKEN_SECONDS):
                    await self._messages.put(message)
        except TimeoutError:
            raise TransientFailure("messages of the live connection were not taken") from None
        finally:
            self._is_over = True
            with suppress(asyncio.QueueFull):  # a full queue: `next` is not waiting
                self._messages.put_nowait(None)

    async def next(self, wait: float) -> LiveMessage | None:
        """Return the next message; None if there is none within ``wait`` seconds.

        Raises:
            LinkOver: The connection has ended, and every message was taken.
        """
        if self._is_over and self._messages.empty():
            raise LinkOver
        message: LiveMessage | None = None
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                message = await self._messages.get()
                if message is None:
                    raise LinkOver
        if isinstance(message, LiveRecords):
            self.cursor = message.next
        return message

    async def close(self) -> None:
        """End the connection, within a bound. May be called again."""
        await self._socket.close()

    async def _receive(self) -> LiveMessage:
        try:
            message = await self._socket.receive()
        except (aiohttp.ClientError, ConnectionError) as error:  # a pong that cannot be sent
            raise TransientFailure(f"the live connection broke: {type(error).__name__}") from None
        if self._socket.close_code == aiohttp.WSCloseCode.SERVICE_RESTART:
            raise GatewayEnds("the gateway ends")
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise TransientFailure(f"the live connection ended: {self._socket.close_code}")
        try:
            return _decoder.decode(message.data)
        except msgspec.MsgspecError:
            # The decoder's message may quote the input, which is the text of a message.
            raise TransientFailure("the live connection sent an unknown message") from None
