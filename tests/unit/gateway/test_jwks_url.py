"""Keys of a JWKS URL: they rotate, and no fault of their server stops the known keys."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Final, get_args

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from gateway.http.http_app import make_app
from gateway.http.middleware import TOKEN_DEVICE
from gateway.http.request_places import USER
from gateway.http.tokens import Bearer, InvalidToken, TokenVerifier, UnknownKey
from gateway.log.wake_ups import WakeUps
from gateway.token_keys import jwks_url
from gateway.token_keys.jwks_url import MAX_JWKS_BYTES, RotatingKeys
from schemas.errors import ServerUnavailable
from schemas.settings import Settings
from tests.support.clock import Clock
from tests.support.gateway import serving
from tests.support.gateway_store import FakeIndex, FakeStore
from tests.support.key_server import SLOW, KeyServer, Trouble, key_server
from tests.support.log_lines import json_lines
from tests.support.running_time import RunningTime, running_time
from tests.support.tokens import private_key, token_of
from tests.support.waiting import until

TROUBLES: tuple[Trouble, ...] = get_args(Trouble)
PATIENCE: Final = 30.0
"""Seconds for steps that take almost no time on an idle machine."""


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    """A JWKS server with the key k0."""
    async with key_server() as keys:
        yield keys


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the cooldown. A busy machine does not reach the timeout of a fetch."""
    monkeypatch.setattr(jwks_url, "FETCH_SECONDS", PATIENCE)
    return Clock()


@pytest.fixture
def keys(server: KeyServer, clock: Clock) -> RotatingKeys:
    """Keys of the server that nobody has fetched yet."""
    return RotatingKeys(server.url, "ES256", clock)


@pytest.fixture
def verifier(server: KeyServer, keys: RotatingKeys) -> TokenVerifier:
    """Checks tokens with these keys."""
    return TokenVerifier(settings_of(server), keys)


def settings_of(server: KeyServer) -> Settings:
    """Settings with the URL of the server."""
    return Settings(jwt_algorithm="ES256", jwt_jwks_url=server.url)


def signed(number: int, user: str = "ann", **claims: object) -> str:
    """A token of one of the keys."""
    return token_of("ES256", private_key("ES256", number), f"k{number}", user, **claims)


async def wait_until(condition: Callable[[], bool]) -> None:
    """Waits until a condition holds."""

    async def holds() -> bool:
        return condition()

    await until(holds, PATIENCE)


@asynccontextmanager
async def responsive() -> AsyncIterator[None]:
    """Fails if the event loop was blocked for half a second in the body."""
    pauses = [0.0]

    async def tick(clock: RunningTime) -> None:
        while True:
            before = clock()
            await asyncio.sleep(0.01)
            pauses.append(clock() - before)

    with running_time() as clock:
        ticking = asyncio.create_task(tick(clock))
        try:
            yield
        finally:
            ticking.cancel()
    assert max(pauses) < 0.5


def fail_by(server: KeyServer, trouble: Trouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the server a trouble. A fetch that would not end by itself gets a short timeout."""
    server.trouble = trouble
    if trouble in SLOW:
        monkeypatch.setattr(jwks_url, "FETCH_SECONDS", 0.5)


def mend(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """End the trouble of the server."""
    server.trouble = None
    monkeypatch.setattr(jwks_url, "FETCH_SECONDS", PATIENCE)


def at_once(checking: Coroutine[None, None, Bearer]) -> Bearer:
    """The result of a check that does not wait."""
    with pytest.raises(StopIteration) as ended:
        checking.send(None)
    found: Bearer = ended.value.value
    return found


async def test_keys_rotate(server: KeyServer, clock: Clock, verifier: TokenVerifier) -> None:
    """A new key is accepted after the cooldown; a removed key is refused, also if remembered."""
    assert (await verifier.verify(signed(0))).user == "ann"
    server.numbers = [1]
    clock.now += jwks_url.COOLDOWN_SECONDS
    assert (await verifier.verify(signed(1, "bob"))).user == "bob"
    with pytest.raises(UnknownKey, match="kid: k0"):
        await verifier.verify(signed(0))
    assert server.requests == 2


async def test_an_unknown_kid_fetches_once_in_the_cooldown(
    server: KeyServer, clock: Clock, verifier: TokenVerifier
) -> None:
    """Tokens with unknown kids cause one fetch at the end of the cooldown, and none before."""
    await verifier.verify(signed(0))
    clock.now += jwks_url.COOLDOWN_SECONDS - 0.001
    for _ in range(3):
        with pytest.raises(UnknownKey):
            await verifier.verify(signed(1))
    assert server.requests == 1
    clock.now += 0.001
    found = await asyncio.gather(
        *(verifier.verify(signed(1)) for _ in range(20)), return_exceptions=True
    )
    assert [type(each) for each in found] == [UnknownKey] * 20
    assert server.requests == 2


async def test_a_token_with_another_algorithm_fetches_nothing(
    server: KeyServer, clock: Clock, verifier: TokenVerifier
) -> None:
    """The algorithm is checked before the kid, so such a token costs no fetch."""
    await verifier.verify(signed(0))
    clock.now += jwks_url.COOLDOWN_SECONDS
    with pytest.raises(InvalidToken, match="another algorithm"):
        await verifier.verify(token_of("HS256", "a secret of more than 32 bytes, or so", "k1"))
    assert server.requests == 1


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_failing_server_does_not_stop_known_keys(
    server: KeyServer,
    clock: Clock,
    verifier: TokenVerifier,
    trouble: Trouble,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Known keys need no wait and no server; an unknown kid is 503 within the fetch's timeout."""
    await verifier.verify(signed(0))
    fail_by(server, trouble, monkeypatch)
    clock.now += jwks_url.COOLDOWN_SECONDS
    server.reached.clear()
    async with asyncio.timeout(PATIENCE), responsive():
        unknown = asyncio.create_task(verifier.verify(signed(1)))
        await server.reached.wait()
        assert at_once(verifier.verify(signed(0, "bob"))).user == "bob"
        with pytest.raises(ServerUnavailable, match="IM_JWT_JWKS_URL"):
            await unknown
        assert at_once(verifier.verify(signed(0, "cat"))).user == "cat"
        with pytest.raises(ServerUnavailable):
            await verifier.verify(signed(1))
    repeated = trouble == "closed"  # aiohttp repeats a request that got no answer at all, once
    assert server.requests == 2 + repeated
    mend(server, monkeypatch)
    server.numbers = [0, 1]
    clock.now += jwks_url.COOLDOWN_SECONDS
    assert (await verifier.verify(signed(1))).user == "ann"


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_server_that_fails_at_the_start_is_waited_for(
    server: KeyServer,
    clock: Clock,
    verifier: TokenVerifier,
    trouble: Trouble,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before the first good answer, every token is 503, not refused."""
    fail_by(server, trouble, monkeypatch)
    async with asyncio.timeout(PATIENCE), responsive():
        for _ in range(2):
            with pytest.raises(ServerUnavailable):
                await verifier.verify(signed(0))
    mend(server, monkeypatch)
    clock.now += jwks_url.COOLDOWN_SECONDS
    assert (await verifier.verify(signed(0))).user == "ann"


@pytest.mark.parametrize("more", [0, 1])
async def test_the_size_of_an_answer_is_bounded(
    server: KeyServer, verifier: TokenVerifier, more: int
) -> None:
    """An answer of the maximum size is used, and one byte more is refused."""
    server.padding = MAX_JWKS_BYTES - len(server.body()) + more
    if more:
        with pytest.raises(ServerUnavailable):
            await verifier.verify(signed(0))
    else:
        assert (await verifier.verify(signed(0))).user == "ann"


async def test_a_caller_that_leaves_does_not_end_the_fetch(
    server: KeyServer, verifier: TokenVerifier
) -> None:
    """The fetch of a caller who goes away serves the other callers."""
    first = asyncio.create_task(verifier.verify(signed(0)))
    second = asyncio.create_task(verifier.verify(signed(0)))
    await server.reached.wait()
    first.cancel()
    assert (await second).user == "ann"
    assert server.requests == 1


async def test_the_gateway_follows_the_keys(
    server: KeyServer, keys: RotatingKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys are fetched at the start and again after an interval, without any request."""
    monkeypatch.setattr(jwks_url, "REFRESH_SECONDS", 0.05)
    async with keys.running():
        await wait_until(lambda: keys.keys.find("k0") is not None)
        server.numbers = [1]
        await wait_until(lambda: keys.keys.find("k1") is not None)
        assert keys.keys.find("k0") is None
        same = keys.keys
        before = server.requests
        await wait_until(lambda: server.requests > before + 1)
        assert keys.keys is same


async def test_a_failed_start_is_retried(
    server: KeyServer, keys: RotatingKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed fetch is repeated after the cooldown, not after the longer interval."""
    monkeypatch.setattr(jwks_url, "COOLDOWN_SECONDS", 0.05)
    server.trouble = "closed"
    async with keys.running():
        await wait_until(lambda: server.requests > 1)
        server.trouble = None
        await wait_until(lambda: keys.keys.find("k0") is not None)


async def test_the_end_of_the_gateway_ends_a_fetch(
    server: KeyServer, keys: RotatingKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that hangs does not delay the end."""
    monkeypatch.setattr(jwks_url, "FETCH_SECONDS", 3_600)
    server.trouble = "hangs"
    async with asyncio.timeout(PATIENCE), keys.running():
        await server.reached.wait()


@pytest.mark.parametrize("trouble", ["garbage", "status 500", "closed", None])
async def test_the_log_has_neither_the_url_nor_the_answer(
    server: KeyServer,
    verifier: TokenVerifier,
    trouble: Trouble | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The URL and the answer may contain secrets: the log names only the kind of the failure."""
    caplog.set_level(logging.DEBUG)
    server.trouble = trouble
    try:
        await verifier.verify(signed(0))
    except ServerUnavailable:
        assert trouble is not None
    ours = [each.getMessage() for each in caplog.records if each.name.startswith("gateway")]
    assert any("IM_JWT_JWKS_URL" in each for each in ours)
    assert all("secret" not in each and server.url not in each for each in ours)


@pytest.fixture
def store() -> FakeStore:
    """An empty store."""
    return FakeStore()


async def test_the_answer_does_not_state_the_failed_check(
    server: KeyServer, store: FakeStore
) -> None:
    """All refused tokens have one answer; the log has the check, the kid and the request's id."""
    refused = {
        "signature": token_of("ES256", private_key("ES256", 1), "k0"),
        "No key has this kid": signed(7),
        "another issuer": signed(0, iss="other"),
        "another audience": signed(0, aud="other"),
        "expired": signed(0, exp=1),
        "another algorithm": token_of("RS256", private_key("RS256"), "k0"),
    }
    answers = []
    with json_lines(logging.INFO) as logged:
        async with serving(settings_of(server), store, FakeIndex()) as gateway:
            for why, token in refused.items():
                headers = {"Authorization": f"Bearer {token}"}
                answer = await gateway.ask("/v1/conversations", None, None, headers)
                (line,) = [each for each in logged if each["event"].startswith("token refused")]
                assert why in line["event"]
                assert "(kid: k" in line["event"]
                assert line["request_id"] == answer.body["request_id"]
                assert token.split(".")[2] not in str(logged)
                logged.clear()
                answers.append((answer.status, answer.body | {"request_id": ""}))
            good = {"Authorization": f"Bearer {signed(0)}"}
            assert (await gateway.ask("/v1/conversations", None, None, good)).status == 200
    assert answers == [answers[0]] * len(refused)
    assert answers[0][0] == 401


async def test_without_any_key_the_answer_is_503(server: KeyServer, store: FakeStore) -> None:
    """While no key was ever fetched, a request with a token is told to try again."""
    server.trouble = "status 500"
    async with serving(settings_of(server), store, FakeIndex()) as gateway:
        headers = {"Authorization": f"Bearer {signed(0)}"}
        answer = await gateway.ask("/v1/conversations", None, None, headers)
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.body["type"].endswith(":unavailable")
        assert (await gateway.ask("/v1/conversations", None)).status == 401


async def test_a_route_knows_the_device_of_the_token(server: KeyServer, store: FakeStore) -> None:
    """The claim ``device`` reaches the routes with the user, and is absent without the claim."""
    app = make_app(settings_of(server), store, FakeIndex(), WakeUps())

    async def name(request: web.Request) -> web.Response:
        return web.json_response([request[USER], request.get(TOKEN_DEVICE)])

    app.router.add_get("/name", name)
    seen = []
    async with TestServer(app) as local, ClientSession() as http:
        for claims in ({"device": "phone"}, {}):
            headers = {"Authorization": f"Bearer {signed(0, **claims)}"}
            async with http.get(local.make_url("/name"), headers=headers) as response:
                seen.append(await response.json())
    assert seen == [["ann", "phone"], ["ann", None]]
