"""Clients of the gateway that take little processor time: senders, and live connections."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Final, Self

import msgspec
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType
from msgspec import Struct

from benchmarks.results import WrongOutput
from gateway.http.tokens import issue_token
from schemas.settings import Settings

_LIFETIME: Final = timedelta(hours=2)
_PAUSE_SECONDS: Final = 0.01
_EXISTS: Final = {201, 409}
_LATER: Final = {202, 503}
"""The sequencer, or the gateway's connection to Kafka, is not ready."""


class PostingConnection:
    """One sender, who posts one message after the other over one connection.

    Args:
        settings: The deployment.
        number: The number of the sender, of the recipient and of their conversation.
    """

    def __init__(self, settings: Settings, number: int) -> None:
        self._settings = settings
        self._number = number
        token = issue_token(settings, f"sender-{number}", _LIFETIME)
        self._head = f"HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        self._messages = f"/v1/conversations/pair-{number}-{settings.gateway_port}/messages"

    async def open(self) -> None:
        """Connects."""
        self._reader, self._writer = await asyncio.open_connection(
            self._settings.gateway_host, self._settings.gateway_port
        )

    def close(self) -> None:
        """Disconnects."""
        self._writer.close()

    async def create(self) -> None:
        """Creates the conversation, unless it exists."""
        conv_id = self._messages.split("/")[3]
        body = {"conv_id": conv_id, "members": [f"recipient-{self._number}"]}
        status = 0
        while status not in _EXISTS:
            status = await self._post("/v1/conversations", msgspec.json.encode(body))
            if status not in _EXISTS | _LATER:
                raise WrongOutput(f"a creation was answered with {status}")

    async def send(self, text: str) -> None:
        """Posts a message.

        Raises:
            WrongOutput: The response is not a 201.
        """
        status = await self._post(self._messages, b'{"text":"%s"}' % text.encode())
        if status != 201:  # noqa: PLR2004 - the outcome
            raise WrongOutput(f"a message was answered with {status}")

    async def _post(self, path: str, body: bytes) -> int:
        head = f"POST {path} {self._head}Content-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = answer.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
        await self._reader.readexactly(int(length))
        return int(answer[9:12])


class _Content(Struct):
    text: str = ""


class _Record(Struct):
    content: _Content = msgspec.field(default_factory=_Content)


class _Item(Struct):
    record: _Record


class _Received(Struct):
    """A message of a live connection, of which only the texts count."""

    kind: str
    records: list[_Item] = []


_decode: Final = msgspec.json.Decoder(_Received).decode


class Recipients:
    """The live connections of all recipients. The texts of messages are ``m`` and a number.

    Attributes:
        count: The number of messages so far.
    """

    def __init__(self, settings: Settings, http: ClientSession, people: int) -> None:
        self._settings = settings
        self._http = http
        self._people = people
        self._arrived: dict[int, float] = {}
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self.count = 0

    async def __aenter__(self) -> Self:
        address = f"http://{self._settings.gateway_host}:{self._settings.gateway_port}/v1/live"
        for number in range(self._people):
            token = issue_token(self._settings, f"recipient-{number}", _LIFETIME)
            headers = {"Authorization": f"Bearer {token}"}
            connecting = self._http.ws_connect(address, headers=headers)
            socket = await self._stack.enter_async_context(connecting)
            self._tasks.append(asyncio.create_task(self._listen(socket)))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()

    async def all_up_to(self, count: int) -> dict[int, float]:
        """Waits for this number of messages; returns the time of each arrival by its number."""
        while len(self._arrived) < count:
            for task in self._tasks:
                if task.done():
                    task.result()
                    raise WrongOutput("a live connection has ended")
            await asyncio.sleep(_PAUSE_SECONDS)
        self.count = count
        return self._arrived

    async def _listen(self, socket: ClientWebSocketResponse) -> None:
        while (message := await socket.receive()).type is WSMsgType.TEXT:
            at = time.perf_counter()
            for item in _decode(message.data).records:
                text = item.record.content.text
                if text:
                    if int(text[1:]) in self._arrived:
                        raise WrongOutput("a message arrived twice")
                    self._arrived[int(text[1:])] = at
