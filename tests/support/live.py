"""A gateway in this process on real servers, and clients that wait at the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

from aiohttp import ClientSession, ClientTimeout, web

from gateway.http.http_app import compose
from gateway.http.server import Runner
from gateway.http.tokens import issue_token
from schemas.settings import Settings
from tests.support.waiting import until

READY_SECONDS: Final = 180.0
ANSWER_SECONDS: Final = 60.0
"""Longer than a wait."""


@asynccontextmanager
async def gateway(settings: Settings) -> AsyncIterator[str]:
    """The address of a gateway, as soon as the gateway follows the log and reaches the store."""
    runner = Runner(await compose(settings), shutdown_seconds=5)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.gateway_host, settings.gateway_port).start()
        address = f"http://{settings.gateway_host}:{settings.gateway_port}"
        async with ClientSession(timeout=ClientTimeout(total=READY_SECONDS)) as http:

            async def is_ready() -> bool:
                async with http.get(f"{address}/healthz") as response:
                    received = await response.json()
                return bool(received["status"] in {"ok", "degraded"} and received["kafka"] == "up")

            await until(is_ready, READY_SECONDS)
        yield address
    finally:
        await runner.cleanup()


class LivePhone:
    """A person's phone on a WebSocket: the received records, in the order of arrival."""

    def __init__(self, settings: Settings, user: str, http: ClientSession) -> None:
        self.records: list[dict[str, Any]] = []
        self.heads: list[tuple[str, int]] = []
        self.cursor = -1
        self._settings = settings
        self._user = user
        self._http = http

    async def follow(self) -> None:
        """Follows until it is cancelled, or until the gateway ends the connection."""
        token = issue_token(self._settings, self._user, timedelta(minutes=5))
        where = f"{self._settings.gateway_host}:{self._settings.gateway_port}"
        async with self._http.ws_connect(
            f"http://{where}/v1/live?after={self.cursor}",
            headers={"Authorization": f"Bearer {token}"},
        ) as socket:
            async for message in socket:
                received = message.json()
                if received["kind"] == "records":
                    assert all(each["sync_seq"] > self.cursor for each in received["records"])
                    self.cursor = received["next"]
                    self.records += [each["record"] for each in received["records"]]
                elif received["kind"] == "head":
                    self.heads.append((received["conv_id"], received["seq"]))

    def knows(self, conv_id: str, seq: int) -> bool:
        """Whether the phone was notified of this entry of a conversation."""
        return (conv_id, seq) in self.heads or seq in self.seqs(conv_id)

    def seqs(self, conv_id: str) -> list[int]:
        """The entries of a conversation that the phone received."""
        return [r["seq"] for r in self.records if r["conv_id"] == conv_id]


class Phone:
    """Waits for its owner's sync timeline, one request after the other."""

    def __init__(self, settings: Settings, user: str, http: ClientSession) -> None:
        self.cursor = -1
        self.records: list[dict[str, Any]] = []
        self._settings = settings
        self._user = user
        self._http = http

    async def wait(self, seconds: int = 30) -> list[dict[str, Any]]:
        """Sends one request; returns the records of the response."""
        token = issue_token(self._settings, self._user, timedelta(minutes=5))
        address = f"http://{self._settings.gateway_host}:{self._settings.gateway_port}"
        async with self._http.get(
            f"{address}/v1/sync",
            params={"after": self.cursor, "wait": seconds},
            headers={"Authorization": f"Bearer {token}"},
            timeout=ClientTimeout(total=ANSWER_SECONDS),
        ) as response:
            page = await response.json()
            assert response.status == 200, page
        self.cursor = page["next"]
        self.records += [each["record"] for each in page["records"]]
        return [each["record"] for each in page["records"]]

    async def has(self, conv_id: str, seq: int) -> None:
        """Waits until the phone has received an entry."""
        while not any((r["conv_id"], r.get("seq")) == (conv_id, seq) for r in self.records):
            await self.wait()

    def seqs(self, conv_id: str) -> list[int]:
        """The entries of a conversation that the phone received, in the order of arrival."""
        return [r["seq"] for r in self.records if r["conv_id"] == conv_id]
