"""A person who writes by frames of a live connection."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, Final

from aiohttp import ClientSession, ClientWebSocketResponse, WSMessage, WSMsgType

from gateway.http.tokens import issue_token
from schemas.settings import Settings
from tests.support.writing import WriteAnswer

ANSWER_SECONDS: Final = 60.0


class WritingSocket:
    """One live connection: sends requests, and returns the answers to them.

    Attributes:
        socket: The WebSocket.
        records: The records that the connection has received, in their order.
        end: The message that ended the connection.
    """

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.socket = socket
        self.records: list[dict[str, Any]] = []
        self.end: asyncio.Future[WSMessage] = asyncio.get_running_loop().create_future()
        self._refs = map(str, itertools.count(1))
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}

    async def write(self, method: str, path: str, **fields: Any) -> WriteAnswer:
        """Sends a request with these fields of the body, and waits for its answer."""
        return await (await self.begin(method, path, **fields))

    async def begin(self, method: str, path: str, **fields: Any) -> asyncio.Task[WriteAnswer]:
        """Sends a request; the task ends with its answer."""
        ref = next(self._refs)
        waiting = self._waiting[ref] = asyncio.get_running_loop().create_future()
        request = {"ref": ref, "method": method, "path": path}
        await self.socket.send_json(request | ({"body": fields} if fields else {}))
        return asyncio.create_task(_answer(waiting))

    async def listen(self) -> None:
        """Receives until the connection ends."""
        while True:
            message = await self.socket.receive()
            if message.type is not WSMsgType.TEXT:
                self.end.set_result(message)
                return
            received = message.json()
            if received["kind"] == "answer":
                self._waiting.pop(received["ref"]).set_result(received)
            elif received["kind"] == "records":
                self.records += [each["record"] for each in received["records"]]


async def _answer(waiting: asyncio.Future[dict[str, Any]]) -> WriteAnswer:
    async with asyncio.timeout(ANSWER_SECONDS):
        received = await waiting
    retry = {"Retry-After": str(received["retry_after"])} if "retry_after" in received else {}
    return WriteAnswer(received["status"], retry, received["body"])


@asynccontextmanager
async def writing_socket(
    settings: Settings, user: str, http: ClientSession
) -> AsyncIterator[WritingSocket]:
    """An open live connection of a person."""
    token = issue_token(settings, user, timedelta(minutes=30))
    address = f"http://{settings.gateway_host}:{settings.gateway_port}/v1/live"
    async with http.ws_connect(address, headers={"Authorization": f"Bearer {token}"}) as socket:
        made = WritingSocket(socket)
        listening = asyncio.create_task(made.listen())
        try:
            yield made
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening
