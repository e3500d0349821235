"""The gateway on an in-memory store and index, and a client of this gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, NamedTuple

from aiohttp import ClientSession, ClientTimeout, web
from pydantic import SecretStr
from yarl import URL

from gateway.contacts.address_log import PushInputs
from gateway.contacts.contact_log import Contacts
from gateway.gateway_metrics import GatewayMetrics
from gateway.http.deployment_guard import Checked
from gateway.http.http_app import make_app
from gateway.http.server import Runner
from gateway.http.tokens import issue_token
from gateway.log.barrier import NO_BARRIER, Barrier
from gateway.log.log_ends import Ends
from gateway.log.wake_ups import WakeUps
from gateway.pipeline.pipeline_reader import PipelineState
from gateway.store.index_port import Index
from gateway.store.store_port import (
    Store,
)
from gateway.writes.command_answers import Writes
from schemas.codec import encode
from schemas.settings import Settings
from tests.support.described import assert_described

NO_CONTENT = 204
SECRET = "a secret of the tests, of 32 bytes or more"


def token_settings(**overrides: Any) -> Settings:
    """Settings with a secret; all other settings as given."""
    return Settings(**{"jwt_secret": SecretStr(SECRET), **overrides})


class Answer(NamedTuple):
    """The response to a request."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Caller:
    """A client of the gateway that acts for any user. The document must describe each response."""

    def __init__(self, base: str, http: ClientSession, settings: Settings) -> None:
        self.base = base
        self.http = http
        self.settings = settings

    async def get(self, path: str, user: str | None = None, /, **query: Any) -> Answer:
        """Sends a GET for a quoted path; without a user, without a token."""
        return await self.ask(path, user, query)

    async def ask(
        self,
        path: str,
        user: str | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Sends a GET with parameters of any name and headers."""
        asked = {"params": _named(query or {}), "headers": self._headers(user, headers)}
        return await self._send("GET", path, asked)

    async def send(
        self,
        method: str,
        path: str,
        user: str | None,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Sends any other request, with an unchanged body."""
        asked = {"data": body, "headers": self._headers(user, headers)}
        return await self._send(method, path, asked)

    async def write(self, method: str, path: str, user: str, /, **fields: Any) -> Answer:
        """Sends a request with the fields of its JSON body."""
        return await self.send(method, path, user, encode(fields))

    def _headers(self, user: str | None, more: Mapping[str, str] | None) -> dict[str, str]:
        headers = dict(more or {})
        if user is not None:
            token = issue_token(self.settings, user, timedelta(minutes=1))
            headers["Authorization"] = f"Bearer {token}"
        return headers

    async def _send(self, method: str, path: str, asked: dict[str, Any]) -> Answer:
        url = URL(self.base + path, encoded=True)
        async with self.http.request(method, url, **asked) as response:
            empty = response.status == NO_CONTENT
            body = None if empty else await response.json(content_type=None)
            where = url.raw_path
            assert_described(method, where, response.status, response.headers, body)
            return Answer(response.status, response.headers, body)


def _named(query: Mapping[str, Any]) -> dict[str, str]:
    """Renames ``from_`` to ``from``, a keyword of Python; drops parameters that are None."""
    return {name.rstrip("_"): str(value) for name, value in query.items() if value is not None}


@asynccontextmanager
async def serving(  # noqa: PLR0913 - the parts of the gateway
    settings: Settings,
    store: Store,
    index: Index,
    wake_ups: WakeUps | None = None,
    ends: Ends | None = None,
    *,
    checked: Checked | None = None,
    contacts: Contacts | None = None,
    barrier: Barrier = NO_BARRIER,
    writes: Writes | None = None,
    pipeline: PipelineState | None = None,
    push: PushInputs | None = None,
    metrics: GatewayMetrics | None = None,
) -> AsyncIterator[Caller]:
    """The gateway on a free port, served as in production."""
    app = make_app(
        settings, store, index, wake_ups or WakeUps(), ends,
        checked=checked, contacts=contacts, barrier=barrier, writes=writes,
        pipeline=pipeline, push=push, metrics=metrics,
    )  # fmt: skip
    runner = Runner(app, shutdown_seconds=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        async with ClientSession(timeout=ClientTimeout(total=60)) as http:
            yield Caller(f"http://127.0.0.1:{port}", http, settings)
    finally:
        await runner.cleanup()


def covered(items: Iterable[dict[str, Any]], *, newest_first: bool = False) -> list[int]:
    """The SeqIds that the items of a history page cover, in their order."""
    seqs: list[int] = []
    for item in items:
        if "hole" in item:
            of_hole = range(item["from"], item["to"] + 1)
            seqs += reversed(of_hole) if newest_first else of_hole
        else:
            seqs.append(item["seq"])
    return seqs
