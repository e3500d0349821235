"""A person who writes and reads through a gateway."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

from aiohttp import ClientSession, ClientTimeout

from gateway.http.tokens import issue_token
from schemas.codec import encode
from schemas.settings import Settings

ANSWER_SECONDS = 60.0


class WriteAnswer(NamedTuple):
    """The response to a request that writes."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def kind(self) -> str:
        """The kind of a problem."""
        return str(self.body["type"]).rpartition(":")[2]


class WritingPerson:
    """Writes as one person.

    Args:
        settings: The deployment, whose secret signs the person's tokens.
        user: The person.
        http: The HTTP client session.
    """

    def __init__(self, settings: Settings, user: str, http: ClientSession) -> None:
        token = issue_token(settings, user, timedelta(minutes=30))
        self._headers = {"Authorization": f"Bearer {token}"}
        self._address = f"http://{settings.gateway_host}:{settings.gateway_port}"
        self._http = http

    async def write(self, method: str, path: str, **fields: Any) -> WriteAnswer:
        """Sends a request with these fields of the body."""
        async with self._http.request(
            method, self._address + path, data=encode(fields) if fields else None,
            headers=self._headers, timeout=ClientTimeout(total=ANSWER_SECONDS),
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
