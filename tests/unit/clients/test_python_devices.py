"""The methods of the Python client about devices and push addresses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

import pytest

import im_timeline_client.transport
from gateway.contacts.address_log import PushInputs
from gateway.http.tokens import issue_token
from im_timeline_client import (
    Client,
    GatewayUnavailable,
    MatrixAddress,
    PushAddress,
    RequestRefused,
    WebhookAddress,
    WebPushAddress,
    connect,
)
from schemas import push_addresses
from schemas.codec import encode
from tests.support.gateway import Caller, serving, token_settings
from tests.support.gateway_store import FakeIndex, FakeStore
from tests.support.push_inputs import Addresses, Live
from tests.support.stored_addresses import BROWSER_POINT

SETTINGS: Final = token_settings()
WEBHOOK: Final = WebhookAddress("https://hooks.example/secret")
ADDRESSES: Final[list[PushAddress]] = [
    WEBHOOK,
    MatrixAddress("https://push.example/_matrix/push/v1/notify", "org.example", "secret"),
    WebPushAddress("https://push.example/secret", BROWSER_POINT, "a" * 22),
]


@pytest.fixture
def addresses() -> Addresses:
    """The addresses of the gateway."""
    return Addresses(FakeStore())


@pytest.fixture
async def gateway(addresses: Addresses) -> AsyncIterator[Caller]:
    """A gateway with a public key of Web Push."""
    push = PushInputs(addresses, Live(), "the public key")
    async with serving(SETTINGS, FakeStore(), FakeIndex(), push=push) as caller:
        yield caller


@pytest.fixture
async def ann(gateway: Caller) -> AsyncIterator[Client]:
    """Ann, who has no device yet."""
    token = issue_token(SETTINGS, "ann", timedelta(minutes=1))
    async with connect(gateway.base, token) as client:
        yield client


@pytest.mark.parametrize("address", ADDRESSES, ids=lambda address: address.provider)
async def test_an_address_is_registered_and_removed(
    ann: Client, addresses: Addresses, address: PushAddress
) -> None:
    """The gateway gets each field; the device is registered as well, and remains."""
    await ann.register_push("a/b", WEBHOOK)
    await ann.register_push("a/b", address)
    expected = push_addresses.PushAddress
    assert [type(each).__name__ for each in addresses.stored.values()] == [type(address).__name__]
    assert isinstance(addresses.stored["ann", "a/b"], expected)
    sent = encode(addresses.stored["ann", "a/b"]).decode()
    assert all(getattr(address, name) in sent for name in address.__slots__)
    assert [each.device_id for each in await ann.devices()] == ["a/b"]
    await ann.remove_push("a/b")
    assert addresses.stored == {}
    assert [each.device_id for each in await ann.devices()] == ["a/b"]


async def test_a_removed_device_has_no_address(ann: Client, addresses: Addresses) -> None:
    """A repeated removal is a success, because the response to the first one may get lost."""
    await ann.register_push("phone", WEBHOOK)
    for _ in range(2):
        await ann.remove_device("phone")
        await ann.remove_push("phone")
        assert addresses.stored == {}
        assert await ann.devices() == ()


async def test_a_refused_address_and_a_gateway_without_log(
    ann: Client, addresses: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address in the deployment's own network is refused; without the log nothing is stored."""
    with pytest.raises(RequestRefused) as refused:
        await ann.register_push("phone", WebhookAddress("https://127.0.0.1/"))
    assert refused.value.kind == "bad-body"
    monkeypatch.setattr(im_timeline_client.transport, "LONGEST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(im_timeline_client.transport, "LONGEST_RETRY_AFTER_SECONDS", 0.01)
    addresses.is_away = True
    for attempt in (ann.register_push("phone", WEBHOOK), ann.remove_push("phone")):
        with pytest.raises(GatewayUnavailable):
            await attempt
    assert addresses.stored == {}


async def test_the_public_key_of_web_push(ann: Client) -> None:
    """The key of the deployment is offered to a browser."""
    assert await ann.push_key() == "the public key"


def test_an_address_has_no_text() -> None:
    """Who has an address can send notifications, so no log shows a part of it."""
    for address in ADDRESSES:
        assert repr(address) == f"{type(address).__name__}()"
