"""A device's requests to the gateway, and its handling of the responses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web

from consumers.device.gateway_timeline import GatewayTimelines
from consumers.device.knowledge import (
    HistoryPart,
)
from consumers.device.spans import Span
from schemas.errors import (
    RequestRefused,
    ServerUnavailable,
    Trimmed,
    UndecodableRecord,
)
from schemas.number_types import SeqId, SyncSeqId


@asynccontextmanager
async def answering(*answers: tuple[int, bytes]) -> AsyncIterator[GatewayTimelines]:
    """A client of a server that gives these responses, in this order."""
    left = list(answers)

    async def answer(_request: web.Request) -> web.Response:
        status, body = left.pop(0)
        return web.Response(status=status, body=body)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with ClientSession() as http:
            address = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield GatewayTimelines(address, lambda: "token", http)
    finally:
        await runner.cleanup()
    assert not left


UNAVAILABLE = (503, b'{"detail": "Try again."}')


async def test_a_request_is_repeated_while_the_gateway_is_unreachable() -> None:
    """Failed requests are retried, and the caller gets the result of the successful one."""
    async with answering(
        UNAVAILABLE, (500, b"?"), (200, b'{"conversations":[],"next":null}')
    ) as g:
        assert await g.conversations() == []


async def test_an_error_names_the_unreachable_gateway() -> None:
    """After a bounded number of retries the client raises an error with the gateway's reason."""
    async with answering(*[UNAVAILABLE] * 5) as gateway:
        with pytest.raises(ServerUnavailable, match="Try again"):
            await gateway.after(SyncSeqId(-1))


async def test_a_refused_token_is_not_used_again() -> None:
    """A refused token is an error at once, because a retry cannot succeed."""
    async with answering((401, b'{"detail": "The token has expired."}')) as gateway:
        with pytest.raises(RequestRefused, match="expired") as refused:
            await gateway.part("c", Span(SeqId(1), SeqId(2)))
        assert refused.value.status == 401


async def test_an_expired_timeline_raises_its_own_error() -> None:
    """A 410 becomes `Trimmed`, with the positions from which the device continues."""
    async with answering((410, b'{"detail": "Gone.", "cursor": 5, "oldest": 9}')) as gateway:
        with pytest.raises(Trimmed) as trimmed:
            await gateway.after(SyncSeqId(5))
        assert (trimmed.value.cursor, trimmed.value.oldest) == (5, 9)


async def test_an_unknown_conversation_returns_nothing() -> None:
    """The store may lag behind the sync timeline, so a 404 is an empty part and not an error."""
    async with answering((404, b'{"detail": "There is no such conversation"}')) as gateway:
        assert await gateway.part("c", Span(SeqId(1), SeqId(2))) == HistoryPart("c", SeqId(0), [])


@pytest.mark.parametrize("body", [b"secret text", b'{"records": "secret text"}', b"\xff"])
async def test_a_foreign_answer_is_not_quoted(body: bytes) -> None:
    """An error about an unreadable response does not quote it: it may contain messages."""
    async with answering((200, body)) as gateway:
        with pytest.raises(UndecodableRecord) as failure:
            await gateway.after(SyncSeqId(-1))
        assert "secret" not in str(failure.value)
