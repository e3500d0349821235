"""A live connection whose frames, in both directions, conform to the AsyncAPI document."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

from aiohttp import ClientSession, ClientWebSocketResponse

from gateway.http.tokens import issue_token
from gateway.writes.command_ids import CommandIds, new_process_number
from schemas.settings import Settings
from tests.support.described import assert_message

SECONDS: Final = 180.0
TOO_BUSY: Final = frozenset({429, 503, 504})
"""What the gateway answers on a loaded machine; the same request may succeed later."""


class LiveFrames:
    """Sends requests and collects the frames of the gateway, each of which must conform.

    The order of the frames must be the order of the document: see `_assert_order`.
    """

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.received: list[dict[str, Any]] = []
        self._socket = socket
        self._cursor = -1
        self._ids = CommandIds(new_process_number())
        self._heads: dict[str, int] = {}
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}

    async def read(self) -> None:
        """Reads frames until the connection ends."""
        async for message in self._socket:
            frame = message.json()
            assert_message("live", frame["kind"], frame)
            self._assert_order(frame)
            self.received.append(frame)
            if frame["kind"] == "answer":
                self._answers[frame["ref"]].set_result(frame)

    def _assert_order(self, frame: dict[str, Any]) -> None:
        assert (frame["kind"] == "begun") == (not self.received)
        match frame["kind"]:
            case "records":
                seqs = [record["sync_seq"] for record in frame["records"]]
                assert seqs == sorted(set(seqs))
                assert all(self._cursor < seq <= frame["next"] for seq in seqs)
                self._cursor = frame["next"]
            case "head":
                assert self._heads.get(frame["conv_id"], 0) < frame["seq"]
                self._heads[frame["conv_id"]] = frame["seq"]
            case "answer":
                assert not self._answers[frame["ref"]].done()

    async def ask(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """Sends a request, and returns its answer."""
        ref = str(len(self._answers))
        request = {"ref": ref, "method": method, "path": path, "body": body}
        assert_message("live", "request", request)
        self._answers[ref] = asyncio.get_running_loop().create_future()
        await self._socket.send_json(request)
        async with asyncio.timeout(SECONDS):
            return await self._answers[ref]

    async def say_active(self, *, is_active: bool) -> None:
        """Says whether the person looks at the connection."""
        frame = {"kind": "presence", "active": is_active}
        assert_message("live", "presence", frame)
        await self._socket.send_json(frame)

    async def write(self, method: str, path: str, **body: Any) -> int:
        """Sends a request that must succeed, and returns the SeqId in its answer."""
        answer = await self.decided(method, path, **body)
        assert answer["status"] in {200, 201}, answer
        seq: int = answer["body"]["seq"]
        return seq

    async def decided(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """The outcome of a command, which is repeated with one id while the machine is busy."""
        body.setdefault("client_msg_id", self._ids.next())
        deadline = time.monotonic() + SECONDS
        while True:
            answer = await self.ask(method, path, **body)
            if answer["status"] not in {202, *TOO_BUSY}:
                return answer
            assert time.monotonic() < deadline, answer
            await asyncio.sleep(0.5)

    def kinds(self) -> set[str]:
        """The kinds of the received frames."""
        return {frame["kind"] for frame in self.received}

    def knows(self, conv_id: str, seq: int) -> bool:
        """Whether a record or a head of the connection has this SeqId of a conversation."""
        records = [r["record"] for f in self.received for r in f.get("records", [])]
        return self._heads.get(conv_id, 0) >= seq or any(
            (record["conv_id"], record.get("seq")) == (conv_id, seq) for record in records
        )


@asynccontextmanager
async def live_frames(
    settings: Settings, user: str, http: ClientSession
) -> AsyncIterator[LiveFrames]:
    """The connection of a person, from the beginning of their sync timeline."""
    token = issue_token(settings, user, timedelta(minutes=30))
    address = f"http://{settings.gateway_host}:{settings.gateway_port}/v1/live?after=-1"
    headers = {"Authorization": f"Bearer {token}"}
    async with http.ws_connect(address, headers=headers) as socket:
        frames = LiveFrames(socket)
        reading = asyncio.create_task(frames.read())
        try:
            yield frames
        finally:
            await socket.close()
            await reading
