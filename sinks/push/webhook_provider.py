"""The provider ``webhook``: requests in the form of Standard Webhooks."""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec import UNSET, Struct, UnsetType

from schemas.codec import encode
from schemas.outbound_urls import ForbiddenAddress
from schemas.push_addresses import PushAddress, WebhookAddress
from sinks.outbound.http_delivery import HttpDelivery, outcome_of
from sinks.outbound.iso_time import iso_time
from sinks.outbound.outcomes import DeliveryOutcome, DeliveryRefused
from sinks.outbound.signatures import Signer
from sinks.push.provider_port import Notification


class NotificationData(Struct, frozen=True, kw_only=True):
    """The ``data`` of a request; the fields are those of `Notification`."""

    user_id: str
    device_id: str
    conv_id: str
    seq: int
    unread: int
    sender: str | UnsetType = UNSET
    text: str | UnsetType = UNSET


class NotificationBody(Struct, frozen=True, kw_only=True):
    """The body of a request. ``timestamp``: the time of the message, ISO 8601."""

    type: str = "notification"
    timestamp: str
    data: NotificationData


class WebhookProvider:
    """A `sinks.push.provider_port.Provider` for `WebhookAddress`.

    Args:
        http: Sends the requests.
        signer: Signs the requests.
        now: The time in seconds since 1970.
    """

    def __init__(
        self, http: HttpDelivery, signer: Signer, now: Callable[[], float] = time.time
    ) -> None:
        self._http = http
        self._signer = signer
        self._now = now

    async def deliver(self, address: PushAddress, notification: Notification) -> DeliveryOutcome:
        """See `sinks.push.provider_port.Provider`."""
        if not isinstance(address, WebhookAddress):
            raise TypeError("not a webhook address")
        body = encode(_body(notification))
        headers = self._signer.headers(notification.id, body.decode(), self._now())
        try:
            answer = await self._http.post(address.url, body, headers)
        except ForbiddenAddress as error:
            return DeliveryRefused(str(error))
        return outcome_of(answer)


def _body(notification: Notification) -> NotificationBody:
    return NotificationBody(
        timestamp=iso_time(notification.at),
        data=NotificationData(
            user_id=notification.user_id,
            device_id=notification.device_id,
            conv_id=notification.conv_id,
            seq=notification.seq,
            unread=notification.unread,
            sender=UNSET if notification.sender is None else notification.sender,
            text=UNSET if notification.text is None else notification.text,
        ),
    )
