"""Actions that the gateway must refuse to every client."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import jwt
import pytest
from pydantic import SecretStr

from gateway.bounds import MAX_LINE_BYTES
from gateway.http.middleware import OPEN_ROUTES
from gateway.http.routes import ROUTES, WRITING_ROUTES
from gateway.http.tokens import issue_token
from gateway.reads.search_terms import to_cursor
from gateway.store.index_port import SearchPosition
from schemas.number_types import Milliseconds, SeqId
from tests.support.gateway import SECRET, Answer, Caller, serving, token_settings
from tests.support.gateway_store import FakeIndex, FakeStore, message

SETTINGS = token_settings()
CLOSED = sorted(path for path, _ in ROUTES if path not in OPEN_ROUTES)
QUERY = {"/v1/search": {"q": "secretword"}}


def signed(secret: str = SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    """A token with valid claims and these changes; None removes a claim."""
    good = {
        "iss": SETTINGS.jwt_issuer,
        "aud": SETTINGS.jwt_audience,
        "exp": datetime.now(UTC) + timedelta(minutes=1),
        "sub": "ann",
    }
    claims = {name: value for name, value in (good | changes).items() if value is not None}
    return jwt.encode(claims, secret, algorithm=algorithm)


BAD_HEADERS = {
    "none": None,
    "empty": "",
    "no scheme": signed(),
    "another scheme": f"Basic {signed()}",
    "no token": "Bearer",
    "rubbish": "Bearer rubbish",
    "expired": f"Bearer {signed(exp=datetime.now(UTC) - timedelta(seconds=1))}",
    "no expiry": f"Bearer {signed(exp=None)}",
    "another issuer": f"Bearer {signed(iss='other')}",
    "another audience": f"Bearer {signed(aud='other')}",
    "no audience": f"Bearer {signed(aud=None)}",
    "no subject": f"Bearer {signed(sub=None)}",
    "empty subject": f"Bearer {signed(sub='')}",
    "another secret": f"Bearer {signed(secret='another secret of more than 32 bytes')}",
    "another algorithm": f"Bearer {signed(secret=SECRET * 2, algorithm='HS512')}",
    "not signed": f"Bearer {jwt.encode({'sub': 'ann'}, '', algorithm='none')}",
    "nested": f"Bearer {base64.urlsafe_b64encode(b'[' * 5_000).decode()}.e30.x",
    "huge numbers": f"Bearer {signed(exp=10**30)[:-1]}x",
    "two tokens": f"Bearer {signed()} {signed()}",
}


class Untouched(FakeStore):
    """A store that fails the test when it is read."""

    def _check(self) -> None:
        raise AssertionError("the store was asked for somebody who is nobody")


@pytest.fixture
async def guarded() -> AsyncIterator[Caller]:
    """A gateway that must not read its store."""
    async with serving(SETTINGS, Untouched(), FakeIndex()) as caller:
        yield caller


@pytest.fixture
def store() -> FakeStore:
    """Ann's conversation, with one message of a unique word."""
    store = FakeStore()
    store.put_conversation("c", 1)
    store.put_change("ann", "c", 1, joined=True)
    store.put_message(message("c", 1, text="secretword"))
    store.put_synced("ann", 1, message("c", 1, text="secretword"))
    return store


@pytest.fixture
async def gateway(store: FakeStore) -> AsyncIterator[Caller]:
    """A gateway with that conversation."""
    index = FakeIndex()
    index.messages = [message("c", 1, text="secretword")]
    async with serving(SETTINGS, store, index) as caller:
        yield caller


@pytest.mark.parametrize("why", BAD_HEADERS)
@pytest.mark.parametrize("path", CLOSED)
async def test_a_bad_token_opens_no_route(guarded: Caller, path: str, why: str) -> None:
    """Every protected route refuses a wrong token, without a read of the store."""
    header = BAD_HEADERS[why]
    headers = {} if header is None else {"Authorization": header}
    answer = await guarded.ask(path.format(id="c"), None, QUERY.get(path), headers)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert header is None or not header or header not in str(answer.body)


@pytest.mark.parametrize(("method", "path"), [route[:2] for route in WRITING_ROUTES])
async def test_no_data_is_changed_without_a_token(guarded: Caller, method: str, path: str) -> None:
    """Every writing route refuses a request without a token."""
    answer = await guarded.send(method, path.format(id="c"), None, b'{"device_id":"c"}')
    assert answer.status == 401


@pytest.mark.parametrize("path", CLOSED)
async def test_a_token_outside_the_header_is_ignored(guarded: Caller, path: str) -> None:
    """Proxies log URLs, so a token in a URL or a cookie is not accepted."""
    token = signed()
    for name in ("access_token", "token", "user"):
        assert (await guarded.ask(path.format(id="c"), None, {name: token})).status == 401
    cookies = {"Cookie": f"access_token={token}; Authorization=Bearer {token}"}
    assert (await guarded.ask(path.format(id="c"), None, None, cookies)).status == 401


async def test_two_authorization_headers_are_refused(guarded: Caller) -> None:
    """Two authorization headers are refused, so that no client can mix two identities."""
    answer = await raw(
        guarded,
        f"GET /v1/sync HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {signed()}\r\n"
        f"Authorization: Bearer {signed(sub='bob')}\r\nConnection: close\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize("header", ["X-User", "X-Forwarded-User", "User-Id", "X-Remote-User"])
async def test_only_the_token_determines_the_identity(gateway: Caller, header: str) -> None:
    """No header and no parameter changes the user of the token."""
    token = {"Authorization": f"Bearer {issue_token(SETTINGS, 'eve', timedelta(minutes=1))}"}
    answer = await gateway.ask("/v1/sync", None, None, token | {header: "ann"})
    assert answer.body["records"] == []
    answer = await gateway.ask("/v1/sync", "eve", {"user": "ann"})
    assert answer.status == 400


async def test_a_stranger_cannot_distinguish_unknown_from_closed_conversations(
    gateway: Caller,
) -> None:
    """A stranger gets the same answers for an existing and a missing conversation."""

    async def seen(conv_id: str) -> list[tuple[Any, ...]]:
        path = f"/v1/conversations/{conv_id}/messages"
        answers = [
            await gateway.get(path, "eve"),
            await gateway.get(path, "eve", from_=1, to=1),
            await gateway.get(path, "eve", order="desc"),
            await gateway.get("/v1/search", "eve", q="secretword", conversation=conv_id),
        ]
        return [visible_parts(answer) for answer in answers]

    def visible_parts(answer: Answer) -> tuple[Any, ...]:
        headers = {k: v for k, v in answer.headers.items() if k not in {"Date", "X-Request-ID"}}
        return answer.status, headers, answer.body | {"request_id": ""}

    assert await seen("c") == await seen("d")


async def test_a_stranger_finds_nothing(gateway: Caller) -> None:
    """A stranger's search gives no hit and no cursor that would show the existence of a hit."""
    for query in ("secretword", "nothing"):
        answer = await gateway.get("/v1/search", "eve", q=query)
        assert answer.body == {"hits": [], "next": None, "cut": False}
    assert (await gateway.get("/v1/conversations", "eve")).body["conversations"] == []


async def test_neither_token_nor_query_nor_text_is_logged(
    gateway: Caller, store: FakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The log of any answer, down to debug, contains neither token nor query nor text."""
    caplog.set_level(logging.DEBUG)
    token = issue_token(SETTINGS, "ann", timedelta(minutes=1))
    headers = {"Authorization": f"Bearer {token}"}
    for path in CLOSED:
        await gateway.ask(path.format(id="c"), None, QUERY.get(path), headers)
        await gateway.ask(path.format(id="c"), None, {"q": "secretword", "no": "x"}, headers)
        await gateway.ask(path.format(id="c"), None, QUERY.get(path), {"Authorization": token})
    await gateway.ask("/v1/secretword", None, {"q": "secretword"}, headers)
    store.up = False
    await gateway.ask("/v1/search", None, {"q": "secretword"}, headers)
    served = [record for record in caplog.records if record.name.startswith("gateway")]
    assert len(served) >= 3 * len(CLOSED) + 2
    for secret in ("secretword", token, token.split(".")[2], SECRET):
        assert all(secret not in record.getMessage() for record in served)
    assert SECRET not in repr(SETTINGS)


async def raw(gateway: Caller, request: str) -> bytes:
    """Send exactly these characters; return the answer."""
    where = urlsplit(gateway.base)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(request.encode())
    await writer.drain()
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    "request_text",
    [
        "GET /v1/search?q=secretword" + "x" * MAX_LINE_BYTES + " HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secretword"
        + "x" * 2 * MAX_LINE_BYTES
        + "\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n" + "A: secretword\r\n" * 200 + "\r\n",
        "GET /?q=secretword HTTP/9.9\r\n\r\n",
        "secretword\r\n\r\n",
        "GET /v1/sync HTTP/1.1\r\nHost: x\r\nBad header secretword\r\n\r\n",
    ],
    ids=["long line", "long header", "many headers", "version", "no request", "bad header"],
)
async def test_input_that_is_not_http_is_refused_and_not_logged(
    guarded: Caller, caplog: pytest.LogCaptureFixture, request_text: str
) -> None:
    """The size of a request is checked before it is parsed, and the log quotes nothing of it."""
    caplog.set_level(logging.DEBUG)
    answer = await raw(guarded, request_text)
    assert answer.split(b" ", 2)[1] == b"400"
    served = [
        record for record in caplog.records if record.name.startswith(("gateway", "aiohttp"))
    ]
    assert all("secretword" not in f"{r.getMessage()}{r.exc_info}" for r in served)
    assert (await guarded.get("/openapi.json")).status == 200


@pytest.mark.parametrize(
    "conv_id",
    ["c' OR '1'='1", "c\x00", "../c", "c/../../healthz", "%", "c;DROP TABLE message", "{id}", "*"],
)
async def test_an_id_is_only_a_value_in_queries(gateway: Caller, conv_id: str) -> None:
    """An id in a path finds only the conversation with exactly this id, which does not exist."""
    path = f"/v1/conversations/{quote(conv_id, safe='')}/messages"
    assert (await gateway.get(path, "ann")).status == 404
    searched = await gateway.get("/v1/search", "ann", q="secretword", conversation=conv_id)
    assert searched.status == 404


async def test_a_cursor_of_another_request_shows_no_additional_data(gateway: Caller) -> None:
    """A forged cursor gives only hits that the person may read."""
    cursor = to_cursor(SearchPosition(Milliseconds(1 << 50), "c", SeqId(1)))
    hers = await gateway.get("/v1/search", "ann", q="secretword", cursor=cursor)
    assert len(hers.body["hits"]) == 1
    others = await gateway.get("/v1/search", "eve", q="secretword", cursor=cursor)
    assert others.body == {"hits": [], "next": None, "cut": False}


def test_an_error_does_not_quote_a_secret() -> None:
    """The error about a wrong secret does not contain the secret."""
    settings = token_settings(jwt_secret=SecretStr("short secret"))
    with pytest.raises(Exception, match="IM_JWT_SECRET") as raised:
        issue_token(settings, "ann", timedelta(minutes=1))
    assert "short secret" not in str(raised.value)
