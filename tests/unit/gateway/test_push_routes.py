"""The push address of a device over HTTP: what is stored, and what is refused."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Final

import pytest
from aiohttp import ClientWebSocketResponse

import gateway.http.live_requests as gateway_live_requests
from gateway.contacts.address_log import PushInputs
from gateway.http.frames import PROTOCOL
from gateway.http.live_requests import PRESENCE_BURST
from gateway.http.tokens import issue_token
from schemas.push_addresses import MatrixAddress, WebhookAddress, WebPushAddress
from tests.support.described import assert_message
from tests.support.gateway import Answer, Caller, serving, token_settings
from tests.support.gateway_store import FakeIndex, FakeStore
from tests.support.push_inputs import Addresses, Live
from tests.support.stored_addresses import BROWSER_POINT
from tests.support.waiting import until

SECONDS: Final = 20.0
PUSH: Final = "/v1/devices/phone/push"
WEBHOOK: Final = {"provider": "webhook", "url": "https://hooks.example/ann"}
MATRIX: Final = {
    "provider": "matrix", "gateway": "https://push.example/_matrix/push/v1/notify",
    "app_id": "org.example", "pushkey": "k-secret",
}  # fmt: skip
WEB_PUSH: Final = {
    "provider": "web_push", "endpoint": "https://push.example/send/1", "p256dh": BROWSER_POINT,
    "auth": "a" * 22,
}  # fmt: skip


@pytest.fixture
def store() -> FakeStore:
    """An empty store."""
    return FakeStore()


@pytest.fixture
def addresses(store: FakeStore) -> Addresses:
    """The stored addresses."""
    return Addresses(store)


@pytest.fixture
def live() -> Live:
    """The live connections."""
    return Live()


@pytest.fixture
async def gateway(store: FakeStore, addresses: Addresses, live: Live) -> AsyncIterator[Caller]:
    """A gateway at which ann has a device."""
    push = PushInputs(addresses, live, "the public key")
    async with serving(token_settings(), store, FakeIndex(), push=push) as caller:
        body = json.dumps({"device_id": "phone"}).encode()
        assert (await caller.send("POST", "/v1/devices", "ann", body)).status == 200
        yield caller


async def put(gateway: Caller, body: Any, user: str = "ann") -> Answer:
    """Register an address."""
    return await gateway.send("PUT", PUSH, user, json.dumps(body).encode())


def problem(answer: Answer) -> tuple[int, str, str]:
    """Return status, kind and field of a problem."""
    kind = answer.body["type"].rpartition(":")[2]
    return answer.status, kind, answer.body.get("parameter", "")


async def test_each_kind_of_address_replaces_the_earlier_one(
    gateway: Caller, addresses: Addresses
) -> None:
    """The response follows the confirmation of the log; DELETE removes the address."""
    for body, kind in (
        (WEBHOOK, WebhookAddress), (MATRIX, MatrixAddress), (WEB_PUSH, WebPushAddress),
    ):  # fmt: skip
        assert (await put(gateway, body)).status == 204
        assert isinstance(addresses.stored["ann", "phone"], kind)
    assert (await gateway.send("DELETE", PUSH, "ann")).status == 204
    assert addresses.stored == {}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "provider"),
        ([], "body"),
        (WEBHOOK | {"provider": "smoke"}, "provider"),
        (WEBHOOK | {"more": 1}, "more"),
        ({"provider": "webhook"}, "url"),
        (WEBHOOK | {"url": "https://hooks.example/" + "x" * 2_048}, "url"),
        (WEBHOOK | {"url": "ftp://hooks.example/"}, "url"),
        (WEBHOOK | {"url": "http://hooks.example/"}, "url"),
        (WEBHOOK | {"url": "https://127.0.0.1/"}, "url"),
        (WEBHOOK | {"url": "https://169.254.169.254/latest"}, "url"),
        (WEBHOOK | {"url": "https://ann@hooks.example/"}, "url"),
        (WEBHOOK | {"url": "https://hooks.example:8443/"}, "url"),
        (MATRIX | {"gateway": "https://push.example/other"}, "gateway"),
        (MATRIX | {"gateway": "https://10.0.0.1/_matrix/push/v1/notify"}, "gateway"),
        (MATRIX | {"app_id": ""}, "app_id"),
        (MATRIX | {"app_id": "a" * 65}, "app_id"),
        (MATRIX | {"pushkey": "k" * 513}, "pushkey"),
        (WEB_PUSH | {"endpoint": "https://[::1]/"}, "endpoint"),
        (WEB_PUSH | {"p256dh": "B" * 87}, "p256dh"),
        (WEB_PUSH | {"p256dh": BROWSER_POINT[:-1]}, "p256dh"),
        (WEB_PUSH | {"auth": "short"}, "auth"),
        (WEB_PUSH | {"auth": None}, "auth"),
    ],
)
async def test_an_address_that_cannot_work_is_refused(
    gateway: Caller, addresses: Addresses, body: Any, field: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The problem names the field, and neither it nor the log shows a value."""
    with caplog.at_level(logging.DEBUG):
        answer = await put(gateway, body)
    assert problem(answer) == (400, "bad-body", field)
    assert addresses.stored == {}
    for text in (str(answer.body), caplog.text):
        assert "example" not in text
        assert "k-secret" not in text


async def test_only_a_registered_device_has_an_address(
    gateway: Caller, addresses: Addresses
) -> None:
    """So a person has at most as many addresses as devices. Other people's do not count."""
    assert problem(await put(gateway, WEBHOOK, "bob"))[:2] == (404, "no-such-device")
    assert problem(await gateway.send("DELETE", PUSH, "bob"))[:2] == (404, "no-such-device")
    assert addresses.stored == {}


async def test_a_removed_device_loses_its_address(gateway: Caller, addresses: Addresses) -> None:
    """An interrupted removal is completed by its repetition, whose response is 404."""
    device = "/v1/devices/phone"
    assert (await put(gateway, MATRIX)).status == 204
    addresses.is_away = True
    assert (await gateway.send("DELETE", device, "ann")).status == 503
    addresses.is_away = False
    assert problem(await gateway.send("DELETE", device, "ann"))[:2] == (404, "no-such-device")
    assert addresses.stored == {}


async def test_a_removal_during_the_registration_wins(
    gateway: Caller, addresses: Addresses
) -> None:
    """A device that was removed while its address was stored has no address afterwards."""
    addresses.removes_device = True
    assert problem(await put(gateway, WEBHOOK))[:2] == (404, "no-such-device")
    assert addresses.stored == {}


async def test_without_the_broker_the_response_is_503(
    gateway: Caller, addresses: Addresses
) -> None:
    """A registration that is not confirmed is not answered with success."""
    addresses.is_away = True
    assert (await put(gateway, WEBHOOK)).status == 503


async def test_the_public_key_of_web_push_is_offered(gateway: Caller) -> None:
    """A browser subscribes with the public key; a gateway without a key says so."""
    answer = await gateway.get("/v1/push", "ann")
    assert (answer.status, answer.body) == (200, {"vapid_key": "the public key"})
    async with serving(token_settings(), FakeStore(), FakeIndex()) as other:
        assert (await other.get("/v1/push", "ann")).body == {"vapid_key": None}
        assert (await other.get("/v1/push")).status == 401


async def connected(gateway: Caller) -> ClientWebSocketResponse:
    """A live connection of ann that has begun."""
    token = issue_token(gateway.settings, "ann", timedelta(minutes=1))
    socket = await gateway.http.ws_connect(
        f"{gateway.base}/v1/live", protocols=(PROTOCOL, f"bearer.{token}")
    )
    await socket.receive(timeout=SECONDS)
    return socket


async def test_a_live_connection_is_recorded_from_its_begin_to_its_end(
    gateway: Caller, live: Live
) -> None:
    """The person counts as live until the connection ends, for any reason."""
    socket = await connected(gateway)
    assert live.users == ["ann"]
    await socket.close()

    async def has_ended() -> bool:
        return live.users == []

    await until(has_ended, SECONDS)


async def test_a_client_says_whether_the_person_looks_at_it(gateway: Caller, live: Live) -> None:
    """Each presence is noted in its order, also next to requests, and has no answer."""
    socket = await connected(gateway)
    for is_active in (False, True, False):
        frame = {"kind": "presence", "active": is_active}
        assert_message("live", "presence", frame)
        await socket.send_json(frame)
    await socket.send_json({"ref": "1", "method": "POST", "path": "/v1/nowhere"})
    answer = await socket.receive_json(timeout=SECONDS)
    assert (answer["kind"], answer["ref"]) == ("answer", "1")
    assert live.noted == [False, True, False]
    await socket.close()


async def test_many_presences_are_read_slowly(
    gateway: Caller, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond a burst, each takes its interval. None is lost, and the connection remains open."""
    interval, beyond = 0.1, 5
    monkeypatch.setattr(gateway_live_requests, "PRESENCE_SECONDS", interval)
    socket = await connected(gateway)
    begun = asyncio.get_running_loop().time()
    expected = [number % 2 == 0 for number in range(PRESENCE_BURST + beyond)]
    for is_active in expected:
        await socket.send_json({"kind": "presence", "active": is_active})

    async def are_noted() -> bool:
        return len(live.noted) == len(expected)

    await until(are_noted, SECONDS)
    assert asyncio.get_running_loop().time() - begun >= beyond * interval
    assert live.noted == expected
    assert not socket.closed
    await socket.close()
