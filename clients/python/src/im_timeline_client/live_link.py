"""One live connection to the gateway: its messages, in order, until it ends.

A separate task reads the connection, so that pings are answered while the reader is busy. A small
queue holds messages that the reader has not taken. When the queue is full, reading stops, and the
gateway ends a connection whose peer does not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Generic, NoReturn, TypeVar

import aiohttp

from im_timeline_client.errors import GatewayUnavailable, ImError

QUEUED_MESSAGES: Final = 8
"""Capacity of the queue, in messages; each may be a page of one megabyte."""

BEGIN_SECONDS: Final = 10.0
"""Timeout of the first message; the gateway waits for its store."""

SEND_SECONDS: Final = 10.0
"""Timeout of a text to the gateway."""

TAKEN_SECONDS: Final = 60.0
"""How long the queue may stay full until the connection ends."""

MessageT = TypeVar("MessageT")


class LinkOver(ImError):
    """The connection has ended, and its queue is empty. Internal to the followers."""


class GatewayEnds(GatewayUnavailable):
    """The gateway has closed the connection because it is about to end; others serve on."""


class LiveLink(Generic[MessageT]):
    """One connection.

    Args:
        socket: The WebSocket.
        decode: Returns the message of a text, or raises `ValueError`.
        cursor: The cursor with which the socket was opened.
    """

    def __init__(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        decode: Callable[[str], MessageT],
        cursor: int,
    ) -> None:
        self.cursor = cursor
        self.is_new = True
        self._socket = socket
        self._decode = decode
        self._is_over = False
        self._messages: asyncio.Queue[MessageT | None] = asyncio.Queue(QUEUED_MESSAGES)

    async def begin(self) -> MessageT:
        """Return the first message.

        Raises:
            GatewayUnavailable: The message did not arrive within `BEGIN_SECONDS`.
        """
        try:
            async with asyncio.timeout(BEGIN_SECONDS):
                return await self._receive()
        except TimeoutError:
            raise GatewayUnavailable("the live connection does not begin") from None

    async def listen(self) -> NoReturn:
        """Put messages into the queue until the connection ends.

        Raises:
            GatewayEnds: The gateway is about to end.
            GatewayUnavailable: The connection ended, or the queue stayed full for
                `TAKEN_SECONDS`.
        """
        try:
            while True:
                message = await self._receive()
                async with asyncio.timeout(TAKEN_SECONDS):
                    await self._messages.put(message)
        except TimeoutError:
            raise GatewayUnavailable("messages of the live connection were not taken") from None
        finally:
            self._is_over = True
            with suppress(asyncio.QueueFull):  # a full queue: `next` is not waiting
                self._messages.put_nowait(None)

    async def next(self, wait: float) -> MessageT | None:
        """Return the next message; None if there is none within ``wait`` seconds.

        Raises:
            LinkOver: The connection has ended, and every message was taken.
        """
        if self._is_over and self._messages.empty():
            raise LinkOver
        message: MessageT | None = None
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                message = await self._messages.get()
                if message is None:
                    raise LinkOver
        return message

    async def tell(self, text: str) -> None:
        """Send a text. A connection that does not take the text ends by itself."""
        with suppress(aiohttp.ClientError, ConnectionError, TimeoutError):
            async with asyncio.timeout(SEND_SECONDS):
                await self._socket.send_str(text)

    async def close(self) -> None:
        """End the connection, within a bound. May be called again."""
        await self._socket.close()

    async def _receive(self) -> MessageT:
        try:
            message = await self._socket.receive()
        except (aiohttp.ClientError, ConnectionError) as error:  # a pong that cannot be sent
            reason = f"the live connection broke: {type(error).__name__}"
            raise GatewayUnavailable(reason) from None
        if self._socket.close_code == aiohttp.WSCloseCode.SERVICE_RESTART:
            raise GatewayEnds("the gateway ends")
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise GatewayUnavailable(f"the live connection ended: {self._socket.close_code}")
        try:
            return self._decode(message.data)
        except (ValueError, RecursionError):
            # The decoder's message may quote the input, which is the text of a message.
            raise GatewayUnavailable("the live connection sent an unknown message") from None
