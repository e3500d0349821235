"""Sizes and numbers in requests: the largest that passes, and one more."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway import bounds
from gateway.http.http_app import writes_to
from gateway.http.server import SERVER_OPTIONS
from schemas.records import MAX_ID_LENGTH
from tests.support.gateway import Answer, Caller, serving, token_settings
from tests.support.gateway_store import FakeIndex, FakeStore
from tests.support.peers import Peer, head, peer
from tests.support.sequenced_log import SequencedLog

SETTINGS = token_settings()
LINE = "GET /v1/sync?limit=1"


@pytest.fixture
async def gateway() -> AsyncIterator[Caller]:
    """A gateway with the conversation ``c`` of ann."""
    log = SequencedLog()
    writes = writes_to(SETTINGS, log)
    log.feed(writes.waiters)
    async with serving(SETTINGS, FakeStore(), FakeIndex(), writes=writes) as caller:
        made = await caller.write("POST", "/v1/conversations", "ann", conv_id="c", members=["bob"])
        assert made.status == 201
        yield caller


def kind(answer: Answer) -> tuple[int, str]:
    """Return the status and the kind of a problem."""
    return answer.status, answer.body["type"].rpartition(":")[2]


async def status_of(gateway: Caller, request: bytes) -> int:
    """Return the status of the answer to these bytes."""
    async with peer(gateway) as each:
        await each.send(request)
        return (await each.answer()).status


async def say(gateway: Caller, **fields: Any) -> Answer:
    """Send a message to ``c``."""
    return await gateway.write("POST", "/v1/conversations/c/messages", "ann", **fields)


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_the_size_of_a_body(gateway: Caller, *, is_chunked: bool) -> None:
    """A body of the maximum size is read, and one byte more is a 413."""
    for more in (0, 1):
        body = json.dumps({"device_id": "phone"}).encode()
        body += b" " * (bounds.MAX_BODY_BYTES - len(body) + more)
        if is_chunked:
            request = head(gateway, "POST /v1/devices", "ann", "Transfer-Encoding: chunked")
            request += b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
        else:
            request = head(gateway, "POST /v1/devices", "ann", f"Content-Length: {len(body)}")
            request += body
        async with peer(gateway) as each:
            await each.send(request)
            answer = await each.answer()
        assert answer.status == (413 if more else 200)
        if more:
            assert answer.problem["type"].endswith(":body-too-large")


async def test_the_size_of_a_text(gateway: Caller) -> None:
    """A text of the maximum size is sent, and one byte more is a 400."""
    size = SETTINGS.max_text_bytes
    assert (await say(gateway, text="x" * size)).status == 201
    assert kind(await say(gateway, text="x" * (size + 1))) == (400, "bad-body")
    assert (await say(gateway, text="陈" * (size // 3))).status == 201
    assert kind(await say(gateway, text="陈" * (size // 3 + 1))) == (400, "bad-body")


async def test_the_number_of_mentions(gateway: Caller) -> None:
    """A message with the maximum number of mentions is sent, and one more is a 400."""
    most = SETTINGS.limits.max_mentions
    people = [f"p{number}" for number in range(most + 1)]
    assert (await say(gateway, text="hi", mentions=people[:most])).status == 201
    assert kind(await say(gateway, text="hi", mentions=people)) == (400, "bad-body")


async def test_the_length_of_an_id(gateway: Caller) -> None:
    """An id of the maximum length is accepted in bodies and queries, and a longer one is not."""
    for more in (0, 1):
        given = "x" * (MAX_ID_LENGTH + more)
        made = await gateway.write("POST", "/v1/conversations", "ann", conv_id=given, members=[])
        found = await gateway.get("/v1/search", "ann", q="hi", sender=given)
        if more:
            assert kind(made) == (400, "bad-body")
            assert kind(found) == (400, "bad-parameter")
        else:
            assert (made.status, found.status) == (201, 200)


async def test_the_length_of_a_request_line(gateway: Caller) -> None:
    """A target of the maximum length is parsed, and a longer one is not."""
    for more in (0, 1):
        target = "/v1/sync?limit=1".ljust(bounds.MAX_LINE_BYTES + more, "1")
        request = f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        assert await status_of(gateway, request) == (400 if more else 401), more


async def test_the_length_of_a_header(gateway: Caller) -> None:
    """A header with a value of the maximum length is parsed, and a longer one is not."""
    for more in (0, 1):
        long = "X-Long: ".ljust(len("X-Long: ") + bounds.MAX_LINE_BYTES + more, "x")
        assert await status_of(gateway, head(gateway, LINE, "ann", long)) == (400 if more else 200)


async def test_the_number_of_headers(gateway: Caller) -> None:
    """A request with the maximum number of headers is parsed, and one more is not."""
    own = 2  # Host and Authorization
    for more in (0, 1):
        fields = [f"X-{number}: x" for number in range(bounds.MAX_HEADERS - own + more)]
        status = await status_of(gateway, head(gateway, LINE, "ann", *fields))
        assert status == (400 if more else 200), more


async def test_the_size_of_incomplete_headers(
    gateway: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Incomplete headers of the maximum size can be completed; one byte more ends the request."""
    monkeypatch.setattr(bounds, "MAX_HEAD_BYTES", 2_000)
    for more in (0, 1):
        begun = head(gateway, LINE).removesuffix(b"\r\n") + b"X-Long: "
        begun += b"x" * (bounds.MAX_HEAD_BYTES - len(begun) + more)
        async with peer(gateway) as each:
            await each.send(begun)
            if more:
                assert (await each.answer()).problem["type"].endswith(":not-http")
            else:
                await asyncio.sleep(0.2)
                await each.send(b"\r\n\r\n")
                assert (await each.answer()).status == 200


async def test_the_requests_of_a_person_in_progress(
    gateway: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The maximum number of requests is in progress; one more waits, and then is a 429."""
    monkeypatch.setattr(bounds, "MAX_REQUESTS_OF_ONE", 2)
    monkeypatch.setattr(bounds, "PLACE_SECONDS", 0.2)
    peers: list[Peer] = []
    async with peer(gateway) as first, peer(gateway) as second:
        for each in (first, second):
            await each.send(head(gateway, "POST /v1/devices", "ann", "Content-Length: 21"))
            peers.append(each)
        refused = await gateway.get("/v1/sync", "ann")
        while refused.status == 200:  # the headers of the others have not arrived
            refused = await gateway.get("/v1/sync", "ann")
        assert kind(refused) == (429, "too-many-requests")
        assert refused.headers["Retry-After"] == "1"
        assert (await gateway.get("/v1/sync", "bob")).status == 200
        for each in peers:
            await each.send(b'{"device_id":"phone"}')
            assert (await each.answer()).status == 200
        assert (await gateway.get("/v1/sync", "ann")).status == 200


async def test_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without a next request is open before the timeout, and closed after it."""
    monkeypatch.setitem(SERVER_OPTIONS, "keepalive_timeout", 1.0)
    async with serving(SETTINGS, FakeStore(), FakeIndex()) as caller, peer(caller) as idle:
        begun = time.monotonic()
        await idle.send(head(caller, LINE))
        assert (await idle.answer()).status == 200
        await idle.ends()
        assert time.monotonic() - begun > 0.5
