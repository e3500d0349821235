"""The three push providers: requests as their specifications describe, outcomes of all answers."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import http_ece
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from py_vapid import Vapid02
from standardwebhooks import Webhook, WebhookVerificationError

from backends.push_keys import application_server_key, push_webhook_secrets, vapid_key
from schemas.errors import ConfigurationError
from schemas.number_types import Milliseconds, SeqId
from schemas.outbound_urls import policy_of
from schemas.push_addresses import MatrixAddress, PushAddress, WebhookAddress, WebPushAddress
from schemas.settings import load_settings
from sinks.outbound.http_delivery import HttpDelivery
from sinks.outbound.outcomes import Delivered, DeliveryFailed, DeliveryRefused, Gone
from sinks.outbound.signatures import Signer, make_secret
from sinks.push.provider_port import Notification, Provider
from sinks.push.providers import Providers, all_providers
from sinks.push.web_push_provider import (
    MAX_PLAINTEXT_BYTES,
    WebPushProvider,
    payload_of,
    topic_of,
)
from sinks.push.webhook_provider import WebhookProvider
from tests.support.receiving import BODY_TROUBLES, NO_ANSWER, Receiver, Reply, Trouble, receiver
from tests.support.vapid import new_vapid, vapid_pem

LOCAL: Final = policy_of("127.0.0.0/8", "any", http=True)
CONTACT: Final = "mailto:ops@chat.example"
NOTIFICATION: Final = Notification(
    id="n1", user_id="bob", device_id="phone", conv_id="lunch", seq=SeqId(7), sender="ann",
    text="Noon? 中午", unread=3, at=Milliseconds(1_700_000_000_123),
)  # fmt: skip


@pytest.fixture
async def server() -> AsyncIterator[Receiver]:
    """The server of a provider."""
    async with receiver() as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[HttpDelivery]:
    """A client whose timeout a busy machine does not reach."""
    async with HttpDelivery(LOCAL, seconds=20) as client:
        yield client


@pytest.fixture
async def impatient_http() -> AsyncIterator[HttpDelivery]:
    """A client with a short timeout, for servers that do not answer."""
    async with HttpDelivery(LOCAL, seconds=0.4) as client:
        yield client


class Browser:
    """The keys of a browser's subscription."""

    def __init__(self) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        self._auth = b"0123456789abcdef"
        point = self._private.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        self.p256dh = base64.urlsafe_b64encode(point).rstrip(b"=").decode()
        self.auth = base64.urlsafe_b64encode(self._auth).rstrip(b"=").decode()

    def address(self, url: str) -> WebPushAddress:
        """The address of the subscription at a push service."""
        return WebPushAddress(endpoint=f"{url}/send/1", p256dh=self.p256dh, auth=self.auth)

    def decrypt(self, body: bytes) -> dict[str, Any]:
        """The message as the service worker receives it."""
        plain = http_ece.decrypt(
            body, private_key=self._private, auth_secret=self._auth, version="aes128gcm"
        )
        message: dict[str, Any] = json.loads(plain)
        return message


def address_for(kind: str, url: str) -> PushAddress:
    """An address of each kind at one server."""
    match kind:
        case "webhook":
            return WebhookAddress(f"{url}/hook")
        case "matrix":
            return MatrixAddress(
                gateway=f"{url}/_matrix/push/v1/notify", app_id="app", pushkey="key"
            )
        case _:
            return Browser().address(url)


def providers_with(http: HttpDelivery) -> Providers:
    """All providers, with keys in the settings."""
    settings = load_settings(
        {
            "push_webhook_secret": make_secret(),
            "push_vapid_key": vapid_pem(new_vapid()),
            "push_vapid_contact": CONTACT,
        }
    )
    return all_providers(settings, http)


KINDS: Final = ["webhook", "matrix", "web_push"]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_acknowledged_notification_is_delivered(
    server: Receiver, http: HttpDelivery, kind: str
) -> None:
    """Each provider accepts the success of its server."""
    server.always(Reply(201 if kind == "web_push" else 200, b'{"rejected": []}'))

    outcome = await providers_with(http).deliver(address_for(kind, server.url), NOTIFICATION)

    assert outcome == Delivered()
    assert len(server.received) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "trouble", [*NO_ANSWER, *(Reply(status) for status in (302, 408, 429, 500, 503))]
)
async def test_a_server_that_fails_gets_another_attempt_later(
    server: Receiver, impatient_http: HttpDelivery, kind: str, trouble: Trouble | Reply
) -> None:
    """No answer, redirects, limits and errors of the server raise `DeliveryFailed`."""
    server.always(trouble)

    with pytest.raises(DeliveryFailed) as failure:
        await providers_with(impatient_http).deliver(address_for(kind, server.url), NOTIFICATION)

    assert "Noon" not in str(failure.value)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_hostile_address_is_refused(http: HttpDelivery, kind: str) -> None:
    """Each provider refuses an address in a private network without a request."""
    address = address_for(kind, "http://10.0.0.1")

    outcome = await providers_with(http).deliver(address, NOTIFICATION)

    assert isinstance(outcome, DeliveryRefused)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_refusal_is_final(server: Receiver, http: HttpDelivery, kind: str) -> None:
    """A status of 400 is no reason for another attempt."""
    server.always(Reply(400))

    outcome = await providers_with(http).deliver(address_for(kind, server.url), NOTIFICATION)

    assert outcome == DeliveryRefused("status 400")


async def test_a_provider_without_keys_refuses(http: HttpDelivery) -> None:
    """A deployment without secret and VAPID key serves Matrix addresses alone."""
    providers = all_providers(load_settings(), http)

    for kind in ("webhook", "web_push"):
        outcome = await providers.deliver(address_for(kind, "https://8.8.8.8"), NOTIFICATION)
        assert isinstance(outcome, DeliveryRefused)


async def test_a_webhook_is_signed_with_each_secret(server: Receiver, http: HttpDelivery) -> None:
    """A receiver with any secret of the rotation verifies the request; others do not."""
    old, new = make_secret(), make_secret()
    provider: Provider = WebhookProvider(http, Signer([new, old]))

    await provider.deliver(WebhookAddress(server.url), NOTIFICATION)

    (request,) = server.received
    for secret in (old, new):
        assert Webhook(secret).verify(request.body, request.headers) == {
            "type": "notification",
            "timestamp": "2023-11-14T22:13:20.123Z",
            "data": {
                "user_id": "bob", "device_id": "phone", "conv_id": "lunch", "seq": 7,
                "unread": 3, "sender": "ann", "text": "Noon? 中午",
            },
        }  # fmt: skip
    assert request.headers["webhook-id"] == "n1"
    with pytest.raises(WebhookVerificationError):
        Webhook(make_secret()).verify(request.body, request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(request.body + b" ", request.headers)


async def test_an_attempt_has_the_time_of_the_attempt_and_the_same_id(
    server: Receiver, http: HttpDelivery
) -> None:
    """Receivers refuse old timestamps, and recognise a repeated request by its id."""
    times = iter([1_700_000_000.0, 1_700_000_600.0])
    provider = WebhookProvider(http, Signer([make_secret()]), lambda: next(times))

    for _ in range(2):
        await provider.deliver(WebhookAddress(server.url), NOTIFICATION)

    first, second = (request.headers for request in server.received)
    assert first["webhook-id"] == second["webhook-id"]
    assert first["webhook-timestamp"] == "1700000000"
    assert second["webhook-timestamp"] == "1700000600"


@pytest.mark.parametrize("kind", ["webhook", "web_push"])
@pytest.mark.parametrize("trouble", BODY_TROUBLES)
async def test_the_body_of_an_answer_does_not_count(
    server: Receiver, http: HttpDelivery, kind: str, trouble: Trouble
) -> None:
    """An acknowledgement is an acknowledgement, also with a body that fails."""
    server.always(trouble)

    outcome = await providers_with(http).deliver(address_for(kind, server.url), NOTIFICATION)

    assert outcome == Delivered()


async def test_content_that_is_not_pushed_is_absent(server: Receiver, http: HttpDelivery) -> None:
    """Without sender and text, no request names them."""
    nothing = structs.replace(NOTIFICATION, sender=None, text=None)
    server.always(Reply(200, b'{"rejected": []}'))
    browser, providers = Browser(), providers_with(http)

    for address in (
        address_for("webhook", server.url), address_for("matrix", server.url),
        browser.address(server.url),
    ):  # fmt: skip
        await providers.deliver(address, nothing)

    webhook, matrix, web_push = server.received
    for fields in (
        json.loads(webhook.body)["data"],
        json.loads(matrix.body)["notification"],
        browser.decrypt(web_push.body),
    ):
        assert not {"sender", "text", "content"} & fields.keys()


async def test_a_matrix_request_has_the_form_of_the_specification(
    server: Receiver, http: HttpDelivery
) -> None:
    """Sygnal reads the notification: event, room, sender, content, counts and device."""
    server.always(Reply(200, b'{"rejected": []}'))

    await providers_with(http).deliver(address_for("matrix", server.url), NOTIFICATION)

    (request,) = server.received
    assert request.path == "/_matrix/push/v1/notify"
    assert json.loads(request.body) == {
        "notification": {
            "event_id": "n1", "room_id": "lunch", "type": "m.room.message", "sender": "ann",
            "content": {"msgtype": "m.text", "body": "Noon? 中午"}, "counts": {"unread": 3},
            "devices": [{"app_id": "app", "pushkey": "key"}], "prio": "high",
        }
    }  # fmt: skip


async def test_a_matrix_request_without_unread_messages_has_the_counts_alone(
    server: Receiver, http: HttpDelivery
) -> None:
    """A conversation that was read removes the badge, without an event."""
    server.always(Reply(200, b'{"rejected": []}'))
    read = structs.replace(NOTIFICATION, unread=0)

    await providers_with(http).deliver(address_for("matrix", server.url), read)

    assert json.loads(server.received[0].body)["notification"].keys() == {
        "counts", "devices", "prio",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b'{"rejected": ["key"]}', Gone()),
        (b'{"rejected": ["other"]}', Delivered()),
        *((body, None) for body in (b"", b"{}", b"[]", b"<html>", b'{"rejected": 1}')),
        (b'{"rejected": []}' + b" " * 70_000, None),
    ],
)
async def test_the_rejected_pushkeys_of_a_matrix_gateway_are_gone(
    server: Receiver, http: HttpDelivery, body: bytes, outcome: object
) -> None:
    """A rejected key is gone; a success without a readable list is not an acknowledgement."""
    server.always(Reply(200, body))
    deliver = providers_with(http).deliver(address_for("matrix", server.url), NOTIFICATION)

    if outcome is not None:
        assert await deliver == outcome
        return
    with pytest.raises(DeliveryFailed):
        await deliver


async def test_a_browser_decrypts_its_message(server: Receiver, http: HttpDelivery) -> None:
    """The body is encrypted for the subscription; headers have lifetime, urgency and topic."""
    server.always(Reply(201))
    browser, key = Browser(), new_vapid()
    provider = WebPushProvider(http, key, CONTACT)

    assert await provider.deliver(browser.address(server.url), NOTIFICATION) == Delivered()

    (request,) = server.received
    assert browser.decrypt(request.body) == {
        "conv_id": "lunch", "seq": 7, "unread": 3, "sender": "ann", "text": "Noon? 中午",
    }  # fmt: skip
    assert b"Noon" not in request.body
    assert request.headers["ttl"] == "86400"
    assert request.headers["urgency"] == "high"
    assert request.headers["content-encoding"] == "aes128gcm"
    assert request.headers["topic"] == topic_of("phone", "lunch")


async def test_a_web_push_request_proves_the_key_of_the_deployment(
    server: Receiver, http: HttpDelivery
) -> None:
    """The token has the origin of the push service, a bounded lifetime, and the public key."""
    server.always(Reply(201))
    key = new_vapid()

    await WebPushProvider(http, key, CONTACT).deliver(Browser().address(server.url), NOTIFICATION)

    authorization = server.received[0].headers["authorization"]
    assert Vapid02.verify(authorization)
    token, _, public = authorization.removeprefix("vapid t=").partition(",k=")
    assert public == application_server_key(key)
    padded = token.split(".")[1] + "=="
    claims = json.loads(base64.urlsafe_b64decode(padded))
    assert claims["aud"] == server.url
    assert claims["sub"] == CONTACT
    assert time.time() < claims["exp"] <= time.time() + 86_400


@pytest.mark.parametrize("status", [404, 410])
async def test_a_subscription_that_ended_is_gone(
    server: Receiver, http: HttpDelivery, status: int
) -> None:
    """Push services answer 404 or 410 for a subscription that does not exist any more."""
    server.always(Reply(status))
    address = address_for("web_push", server.url)

    assert await providers_with(http).deliver(address, NOTIFICATION) == Gone()


async def test_a_message_that_is_too_large_is_sent_without_its_text(
    server: Receiver, http: HttpDelivery
) -> None:
    """After 413, the second request has no text."""
    server.replies(Reply(413), Reply(201))
    browser = Browser()

    outcome = await providers_with(http).deliver(browser.address(server.url), NOTIFICATION)

    assert outcome == Delivered()
    assert "text" in browser.decrypt(server.received[0].body)
    assert "text" not in browser.decrypt(server.received[1].body)


@pytest.mark.parametrize(
    ("p256dh", "auth"), [("A" * 87, "A" * 22), ("B" * 87, "A" * 22), ("", ""), ("é", "A" * 22)]
)
async def test_unusable_keys_are_refused(http: HttpDelivery, p256dh: str, auth: str) -> None:
    """Keys that are no point of the curve are refused without a request."""
    address = WebPushAddress(endpoint="https://push.example/1", p256dh=p256dh, auth=auth)

    outcome = await providers_with(http).deliver(address, NOTIFICATION)

    assert isinstance(outcome, DeliveryRefused)


@given(text=st.text(max_size=2_000), times=st.integers(1, 5))
def test_each_text_fits_into_a_message(text: str, times: int) -> None:
    """The payload has the beginning of the text, and is within the bound of push services."""
    whole = structs.replace(NOTIFICATION, text=text * times)

    payload = payload_of(whole)

    assert len(payload) <= MAX_PLAINTEXT_BYTES
    shown = json.loads(payload)["text"]
    assert (text * times).startswith(shown)
    if len(payload) < MAX_PLAINTEXT_BYTES - 24:
        assert shown == text * times


@given(first=st.tuples(st.text(), st.text()), second=st.tuples(st.text(), st.text()))
def test_a_topic_names_one_conversation_of_one_device(
    first: tuple[str, str], second: tuple[str, str]
) -> None:
    """Topics have 32 characters of base64url, and differ for different conversations."""
    topics = topic_of(*first), topic_of(*second)

    assert all(len(topic) == 32 for topic in topics)
    assert (topics[0] == topics[1]) == (first == second)


def test_secrets_come_from_a_setting_or_a_file(tmp_path: Path) -> None:
    """Secrets are separated by commas or lines; a file has the same effect as the setting."""
    secrets = [make_secret(), make_secret()]
    path = tmp_path / "secrets"
    path.write_text("\n".join(secrets) + "\n")

    assert push_webhook_secrets(load_settings({"push_webhook_secret": ",".join(secrets)})) == (
        push_webhook_secrets(load_settings({"push_webhook_secret_file": path}))
    )
    assert push_webhook_secrets(load_settings()) == []
    with pytest.raises(ConfigurationError):
        push_webhook_secrets(load_settings({"push_webhook_secret_file": tmp_path / "none"}))


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_AAAA", "x" * 60, "whsec_" + "é" * 40])
def test_a_weak_or_unreadable_secret_is_an_error(secret: str) -> None:
    """A secret has 24 to 64 bytes in base64; the message quotes no secret."""
    with pytest.raises(ConfigurationError) as error:
        Signer([secret])
    assert len(secret) < 10 or secret not in str(error.value)


def test_the_vapid_key_is_read_in_each_form(tmp_path: Path) -> None:
    """PEM, a file with PEM, and base64url of 32 bytes give the same public key."""
    key = new_vapid()
    raw = key.private_key.private_numbers().private_value.to_bytes(32, "big")
    path = tmp_path / "vapid.pem"
    path.write_text(vapid_pem(key))
    given_keys: list[dict[str, Any]] = [
        {"push_vapid_key": vapid_pem(key)},
        {"push_vapid_key": base64.urlsafe_b64encode(raw).rstrip(b"=").decode()},
        {"push_vapid_key_file": path},
    ]

    for values in given_keys:
        read = vapid_key(load_settings(values | {"push_vapid_contact": CONTACT}))
        assert read is not None
        assert application_server_key(read) == application_server_key(key)
    assert vapid_key(load_settings()) is None


@pytest.mark.parametrize("text", ["x", "A" * 43 + "=", "-----BEGIN PRIVATE KEY-----\nx"])
def test_an_unreadable_vapid_key_is_an_error(text: str) -> None:
    """The message names the setting, and quotes no key."""
    settings = load_settings({"push_vapid_key": text, "push_vapid_contact": CONTACT})

    with pytest.raises(ConfigurationError, match="IM_PUSH_VAPID_KEY") as error:
        vapid_key(settings)
    assert text not in str(error.value).replace("IM_PUSH_VAPID_KEY", "")


@pytest.mark.parametrize(
    "values",
    [
        {"push_vapid_key": "x"},
        {"push_vapid_contact": "ops@chat.example"},
        {"outbound_allow": "10.0.0.1/8"},
        {"outbound_ports": "x"},
        {"push_webhook_secret": "whsec_x", "push_webhook_secret_file": "x"},
    ],
)
def test_settings_that_cannot_work_are_errors(values: dict[str, str]) -> None:
    """A key without a contact, unreadable lists, and two sources of a secret are refused."""
    with pytest.raises(ConfigurationError):
        load_settings(values)
