"""The provider ``web_push``: encrypted messages to browsers.

RFC 8030 (delivery), RFC 8291 (encryption) and RFC 8292 (VAPID, the key of the deployment).
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

from msgspec import UNSET, Struct, UnsetType
from py_vapid import Vapid02, VapidException
from pywebpush import WebPusher

from schemas.codec import encode
from schemas.outbound_urls import ForbiddenAddress
from schemas.push_addresses import PushAddress, WebPushAddress
from sinks.outbound.http_delivery import HttpDelivery, PostAnswer, outcome_of
from sinks.outbound.outcomes import DeliveryOutcome, DeliveryRefused, Gone
from sinks.push.provider_port import Notification

TTL_SECONDS: Final = 86_400
"""How long a push service retains a message for a browser that is not connected."""

MAX_PLAINTEXT_BYTES: Final = 3_993
"""A push service accepts bodies of at least 4,096 bytes (RFC 8030, section 7.2); the encryption
adds 103 bytes to one record."""

_TOKEN_SECONDS: Final = 12 * 3_600
"""Lifetime of a VAPID token; RFC 8292 permits 24 hours."""

_TOPIC_BYTES: Final = 24
"""A topic has at most 32 characters of base64url (RFC 8030, section 5.4)."""

_TOO_LARGE: Final = 413
_GONE: Final = frozenset({404, 410})
_TO_REPEAT: Final = frozenset({408, 425, 429})


class WebPushPayload(Struct, frozen=True, kw_only=True):
    """The message that the service worker of the page receives."""

    conv_id: str
    seq: int
    unread: int
    sender: str | UnsetType = UNSET
    text: str | UnsetType = UNSET


class WebPushProvider:
    """A `sinks.push.provider_port.Provider` for `WebPushAddress`.

    Args:
        http: Sends the requests.
        key: The key of the deployment.
        contact: The address at which push services reach the operator.
        now: The time in seconds since 1970.
    """

    def __init__(
        self,
        http: HttpDelivery,
        key: Vapid02,
        contact: str,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._http = http
        self._key = key
        self._contact = contact
        self._now = now

    async def deliver(self, address: PushAddress, notification: Notification) -> DeliveryOutcome:
        """See `sinks.push.provider_port.Provider`.

        Errors of a single subscription, such as a wrong key, are refused: a repetition would not
        help, and its failures would pause the push service for all other subscriptions.
        """
        if not isinstance(address, WebPushAddress):
            raise TypeError("not a Web Push address")
        try:
            answer = await self._post(address, notification, payload_of(notification))
            if answer.status == _TOO_LARGE:
                answer = await self._post(address, notification, _smallest(notification))
        except ForbiddenAddress as error:
            return DeliveryRefused(str(error))
        except _UnusableKeys:
            return DeliveryRefused("the endpoint or the keys of the subscription are not usable")
        return _outcome(answer)

    async def _post(
        self, address: WebPushAddress, notification: Notification, payload: bytes
    ) -> PostAnswer:
        body = _encrypted(address, payload)
        headers = self._headers(address, notification)
        return await self._http.post(address.endpoint, body, headers)

    def _headers(self, address: WebPushAddress, notification: Notification) -> dict[str, str]:
        parts = urlsplit(address.endpoint)
        claims = {
            "aud": f"{parts.scheme}://{parts.netloc}",
            "exp": int(self._now()) + _TOKEN_SECONDS,
            "sub": self._contact,
        }
        try:
            signed: dict[str, str] = self._key.sign(claims)
        except VapidException as error:
            raise _UnusableKeys from error  # such as an endpoint with an IPv6 address
        return signed | {
            "Content-Type": "application/octet-stream",
            "Content-Encoding": "aes128gcm",
            "TTL": str(TTL_SECONDS),
            "Urgency": "high" if notification.unread else "low",
            "Topic": topic_of(notification.device_id, notification.conv_id),
        }


def topic_of(device_id: str, conv_id: str) -> str:
    """The collapse id: a push service retains the last message of a topic alone."""
    digest = sha256(encode([device_id, conv_id])).digest()[:_TOPIC_BYTES]
    return base64.urlsafe_b64encode(digest).decode()


def payload_of(notification: Notification) -> bytes:
    """The payload, with as much of the text as fits."""
    text = notification.text
    if text is None:
        return _payload(notification, UNSET)
    shown = text
    while len(payload := _payload(notification, shown)) > MAX_PLAINTEXT_BYTES and shown:
        excess = len(payload) - MAX_PLAINTEXT_BYTES
        # One character has at most 12 bytes in JSON, so this removes too little, and ends soon.
        shown = text[: len(shown) - max(1, excess // 12 + 1)]
    return payload


def _smallest(notification: Notification) -> bytes:
    return _payload(notification, UNSET)


def _payload(notification: Notification, text: str | UnsetType) -> bytes:
    return encode(
        WebPushPayload(
            conv_id=notification.conv_id,
            seq=notification.seq,
            unread=notification.unread,
            sender=UNSET if notification.sender is None else notification.sender,
            text=text,
        )
    )


class _UnusableKeys(Exception):
    """The keys of a subscription permit no encryption, or its endpoint permits no token."""


def _encrypted(address: WebPushAddress, payload: bytes) -> bytes:
    keys = {"p256dh": address.p256dh, "auth": address.auth}
    try:
        pusher = WebPusher({"endpoint": address.endpoint, "keys": keys})
        body: bytes = pusher.encode(payload)["body"]
    except Exception as error:
        raise _UnusableKeys from error
    return body


def _outcome(answer: PostAnswer) -> DeliveryOutcome:
    if answer.status in _GONE:
        return Gone()
    if 400 <= answer.status < 500 and answer.status not in _TO_REPEAT:  # noqa: PLR2004 - class
        return DeliveryRefused(f"status {answer.status}")
    return outcome_of(answer)
