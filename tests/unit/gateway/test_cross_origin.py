"""Web pages of other origins: preflight requests, response headers, and live connections."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import WSServerHandshakeError

from gateway.http.frames import PROTOCOL
from tests.support.gateway import Caller, serving, token_settings
from tests.support.gateway_store import FakeIndex, FakeStore

PERMITTED = "https://chat.example"
OTHER = "https://evil.example"


@pytest.fixture
async def gateway() -> AsyncIterator[Caller]:
    """A gateway that permits two origins."""
    settings = token_settings(cors_origins=f"{PERMITTED}, http://localhost:3000")
    async with serving(settings, FakeStore(), FakeIndex()) as caller:
        yield caller


@pytest.fixture
async def closed() -> AsyncIterator[Caller]:
    """A gateway with default settings."""
    async with serving(token_settings(), FakeStore(), FakeIndex()) as caller:
        yield caller


async def asked(gateway: Caller, method: str, origin: str, **more: str) -> dict[str, str]:
    """Send a request without a token; return status and headers of the response."""
    headers = {"Origin": origin, **{name.replace("_", "-"): value for name, value in more.items()}}
    async with gateway.http.request(
        method, f"{gateway.base}/v1/conversations", headers=headers
    ) as response:
        return {"status": str(response.status), **response.headers}


@pytest.mark.parametrize("origin", [PERMITTED, "http://localhost:3000"])
async def test_a_preflight_of_a_permitted_origin_is_answered(gateway: Caller, origin: str) -> None:
    """Without a token, the response permits the methods and headers, and no credentials."""
    found = await asked(gateway, "OPTIONS", origin, Access_Control_Request_Method="POST")
    assert found["status"] == "204"
    assert found["Access-Control-Allow-Origin"] == origin
    assert "Authorization" in found["Access-Control-Allow-Headers"]
    assert "Idempotency-Key" in found["Access-Control-Allow-Headers"]
    assert found["Access-Control-Allow-Methods"] == "GET, POST, PUT, DELETE"
    assert found["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in found


@pytest.mark.parametrize(
    "origin", [OTHER, "null", "http://chat.example", f"{PERMITTED}:444", f"{PERMITTED}.evil"]
)
async def test_another_origin_gets_no_permission(gateway: Caller, origin: str) -> None:
    """The response is that of a request without CORS, but it varies by the origin."""
    found = await asked(gateway, "OPTIONS", origin, Access_Control_Request_Method="POST")
    assert found["status"] == "405"
    assert not [name for name in found if name.startswith("Access-Control-")]
    assert found["Vary"] == "Origin"


async def test_a_failure_is_readable_for_a_permitted_origin(gateway: Caller) -> None:
    """A page can read the problem of a refused request."""
    found = await asked(gateway, "GET", PERMITTED)
    assert found["status"] == "401"
    assert found["Access-Control-Allow-Origin"] == PERMITTED
    assert "Retry-After" in found["Access-Control-Expose-Headers"]


async def test_by_default_no_origin_is_permitted(closed: Caller) -> None:
    """Without the setting, no response has a header of CORS."""
    for method in ("OPTIONS", "GET"):
        found = await asked(closed, method, PERMITTED, Access_Control_Request_Method="POST")
        assert found["status"] == ("405" if method == "OPTIONS" else "401")
        assert not [name for name in found if name.startswith("Access-Control-")]
        assert "Vary" not in found


async def connects(gateway: Caller, origin: str | None) -> int:
    """Open a live connection without a token; return the status of the refusal."""
    headers = {} if origin is None else {"Origin": origin}
    with pytest.raises(WSServerHandshakeError) as refused:
        await gateway.http.ws_connect(
            f"{gateway.base}/v1/live", headers=headers, protocols=(PROTOCOL,)
        )
    return refused.value.status


async def test_a_live_connection_needs_a_permitted_origin(gateway: Caller, closed: Caller) -> None:
    """A permitted origin, the own origin, and a client without an origin come to the token."""
    own = gateway.base
    assert own.startswith("http://127.0.0.1:")
    for origin, status in ((PERMITTED, 401), (own, 401), (None, 401), (OTHER, 403), ("null", 403)):
        assert await connects(gateway, origin) == status, origin
    assert await connects(closed, closed.base) == 401
    assert await connects(closed, PERMITTED) == 403


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("chat.example", "https://chat.example", 401),
        ("chat.example:443", "https://Chat.Example", 401),
        ("chat.example:8080", "https://chat.example", 403),
        ("chat.example", "ftp://chat.example", 403),
        ("chat.example", "chat.example", 403),
    ],
)
async def test_the_own_origin_is_that_of_the_address(
    closed: Caller, host: str, origin: str, status: int
) -> None:
    """Host and port are compared, with the default port of the scheme."""
    headers = {
        "Host": host, "Origin": origin, "Upgrade": "websocket", "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }  # fmt: skip
    async with closed.http.get(f"{closed.base}/v1/live", headers=headers) as response:
        assert response.status == status
