"""One live connection to the gateway: what it tells, in order, until it ends.

It is read by a task of its own, so that pings are answered whatever its taker does meanwhile. Of
what was not taken yet a little is kept; then nothing more is read, and the gateway ends a
connection whose other end takes nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final, TypeAlias

import aiohttp
import msgspec
from msgspec import Struct

from consumers.local.gateway import SyncLine
from schemas.errors import ImError, TransientFailure

KEPT: Final = 8
"""Messages that were not taken yet; each may be a page of a megabyte."""

BEGIN_SECONDS: Final = 10.0
"""For the first message; the gateway waits for its store."""

TAKEN_SECONDS: Final = 60.0
"""How long its taker may leave a connection alone that has more for it."""


class _Message(Struct, frozen=True, tag_field="kind"):
    """Any of those that `/v1/live` sends."""


class Begun(_Message, frozen=True, tag="begun"):
    """From now on all is told."""


class Records(_Message, frozen=True, tag="records"):
    """A page of the sync timeline."""

    records: list[SyncLine]
    next: int
    more: bool


class Head(_Message, frozen=True, tag="head"):
    """A pulled conversation goes on up to here."""

    conv_id: str
    seq: int


class _Kept(Struct, frozen=True):
    cursor: int
    oldest: int


class Gone(_Message, frozen=True, tag="problem"):
    """Records behind the cursor have expired."""

    problem: _Kept


Told: TypeAlias = Begun | Records | Head | Gone

_decoder: Final[msgspec.json.Decoder[Told]] = msgspec.json.Decoder(Told)


class LinkOver(ImError):
    """Nothing is left to take. Does not leave `consumers.local`."""


class LiveLink:
    """What one connection tells. ``cursor``: what is taken next comes behind it.

    Args:
        socket: Opened with that cursor.
        cursor: Of the device.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, cursor: int) -> None:
        self.cursor = cursor
        self.is_new = True
        self._socket = socket
        self._is_over = False
        self._told: asyncio.Queue[Told | None] = asyncio.Queue(KEPT)

    async def begin(self) -> None:
        """Waits until the gateway says that all is told from now on.

        Raises:
            TransientFailure: It does not, within a bound.
        """
        try:
            async with asyncio.timeout(BEGIN_SECONDS):
                first = await self._receive()
        except TimeoutError:
            raise TransientFailure("the live connection does not begin") from None
        if not isinstance(first, Begun):
            raise TransientFailure("the live connection begins with something else")

    async def listen(self) -> None:
        """Keeps what comes, until the connection ends.

        Raises:
            TransientFailure: It has ended, or what came was not taken. Nothing else ends it.
        """
        try:
            while True:
                told = await self._receive()
                async with asyncio.timeout(TAKEN_SECONDS):
                    await self._told.put(told)
        except TimeoutError:
            raise TransientFailure("what the live connection told was not taken") from None
        finally:
            self._is_over = True
            with suppress(asyncio.QueueFull):  # then nobody waits
                self._told.put_nowait(None)

    async def next(self, wait: float) -> Told | None:
        """What was told next; None if nothing is within so many seconds.

        Raises:
            LinkOver: The connection has ended, and all was taken.
        """
        if self._is_over and self._told.empty():
            raise LinkOver
        told: Told | None = None
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                told = await self._told.get()
                if told is None:
                    raise LinkOver
        if isinstance(told, Records):
            self.cursor = told.next
        return told

    async def close(self) -> None:
        """Ends the connection, within a bound. May be called again."""
        await self._socket.close()

    async def _receive(self) -> Told:
        try:
            message = await self._socket.receive()
        except (aiohttp.ClientError, ConnectionError) as error:  # a ping that cannot be answered
            raise TransientFailure(f"the live connection broke: {type(error).__name__}") from None
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise TransientFailure(f"the live connection ended: {self._socket.close_code}")
        try:
            return _decoder.decode(message.data)
        except msgspec.MsgspecError:
            # The decoder's own words may quote the input, which is a message's text.
            raise TransientFailure("the live connection told what is not known here") from None
