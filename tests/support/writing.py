"""A person who writes and reads through a gateway."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple

from aiohttp import ClientSession, ClientTimeout

from gateway.http.tokens import issue_token
from schemas.codec import encode
from schemas.settings import Settings

ANSWER_TIMEOUT: Final = ClientTimeout(total=60)


class WriteAnswer(NamedTuple):
    """The response to a request that writes."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def kind(self) -> str:
        """The kind of a problem; empty for another response."""
        return str(self.body.get("type", "")).rpartition(":")[2]


class WritingPerson:
    """Writes as one person.

    Args:
        settings: The deployment, whose secret signs the person's tokens.
        user: The person.
        http: The HTTP client session.
        timeout: The timeout of each request.
    """

    def __init__(
        self,
        settings: Settings,
        user: str,
        http: ClientSession,
        timeout: ClientTimeout = ANSWER_TIMEOUT,
    ) -> None:
        token = issue_token(settings, user, timedelta(minutes=30))
        self._headers = {"Authorization": f"Bearer {token}"}
        self._address = f"http://{settings.gateway_host}:{settings.gateway_port}"
        self._http = http
        self._timeout = timeout

    async def write(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> WriteAnswer:
        """Sends a request with these fields of the body."""
        async with self._http.request(
            method, self._address + path, data=encode(fields) if fields else None,
            headers=self._headers | dict(headers or {}), timeout=self._timeout,
        ) as response:  # fmt: skip
            return WriteAnswer(response.status, dict(response.headers), await response.json())

    async def create(self, conv_id: str, *members: str, **fields: Any) -> WriteAnswer:
        """Creates a conversation."""
        return await self.write(
            "POST", "/v1/conversations", conv_id=conv_id, members=list(members), **fields
        )

    async def send(self, conv_id: str, text: str, **fields: Any) -> WriteAnswer:
        """Sends a message."""
        return await self.write(
            "POST", f"/v1/conversations/{conv_id}/messages", text=text, **fields
        )

    async def texts(self, conv_id: str) -> dict[int, str]:
        """The texts of at most 500 messages of a conversation, by SeqId."""
        path = f"/v1/conversations/{conv_id}/messages?limit=500"
        page = (await self.write("GET", path)).body
        return {
            item["seq"]: item["content"]["text"]
            for item in page["items"]
            if item.get("kind") == "message_sent"
        }
