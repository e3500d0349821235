"""The address at which the provider of a device receives notifications.

A device registers one address. The address decides which provider of the push stage delivers.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Struct

MAX_URL_LENGTH: Final = 2_048
"""Maximum number of characters in the URL of an address."""

HttpUrl: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=MAX_URL_LENGTH, pattern=r"^https?://[!-~]+$")
]
"""A URL in printable ASCII. The delivery checks the host: see `schemas.outbound_urls`."""

_Key: TypeAlias = Annotated[str, Meta(min_length=1, max_length=512)]


class _Address(Struct, frozen=True, tag_field="provider", forbid_unknown_fields=True):
    """The text form has no fields: who has an address can send notifications to the device."""

    def __repr__(self) -> str:
        """The kind alone."""
        return f"{type(self).__name__}(…)"


class WebhookAddress(_Address, frozen=True, tag="webhook"):
    """Requests in the form of Standard Webhooks, signed with the secret of the deployment."""

    url: HttpUrl


class MatrixAddress(_Address, frozen=True, tag="matrix", kw_only=True):
    """A Matrix push gateway such as Sygnal, which delivers to APNs and FCM.

    ``gateway`` is the URL of its API, such as
    ``https://push.example/_matrix/push/v1/notify``. ``app_id`` names an application in the
    settings of the gateway; ``pushkey`` is the token that APNs or FCM gave to the device.
    """

    gateway: HttpUrl
    app_id: Annotated[str, Meta(min_length=1, max_length=64)]
    pushkey: _Key


class WebPushAddress(_Address, frozen=True, tag="web_push", kw_only=True):
    """A subscription of a browser to Web Push (RFC 8030, RFC 8291).

    ``p256dh`` and ``auth`` are the keys of the subscription, in base64url without padding.
    """

    endpoint: HttpUrl
    p256dh: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{87}$")]
    auth: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{22}$")]


PushAddress: TypeAlias = WebhookAddress | MatrixAddress | WebPushAddress


def url_of(address: PushAddress) -> str:
    """The URL that receives the requests for an address."""
    match address:
        case WebhookAddress(url=url) | MatrixAddress(gateway=url) | WebPushAddress(endpoint=url):
            return url
