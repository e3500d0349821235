"""The provider ``matrix``: the Matrix Push Gateway API, which Sygnal implements.

https://spec.matrix.org/v1.12/push-gateway-api/ describes ``POST /_matrix/push/v1/notify``.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from schemas.codec import decode, encode
from schemas.errors import UndecodableRecord
from schemas.outbound_urls import ForbiddenAddress
from schemas.push_addresses import MatrixAddress, PushAddress
from sinks.outbound.http_delivery import HttpDelivery, outcome_of
from sinks.outbound.outcomes import (
    Delivered,
    DeliveryFailed,
    DeliveryOutcome,
    DeliveryRefused,
    Gone,
)
from sinks.push.provider_port import Notification

_MAX_ANSWER: Final = 65_536
"""Maximum size of a response in bytes. A response has at most the one pushkey of the request."""


class MatrixCounts(Struct, frozen=True):
    """The number of unread messages of the conversation."""

    unread: int


class MatrixDevice(Struct, frozen=True):
    """The device of a notification."""

    app_id: str
    pushkey: str


class MatrixContent(Struct, frozen=True):
    """The content of a text message."""

    body: str
    msgtype: str = "m.text"


class MatrixNotification(Struct, frozen=True, kw_only=True):
    """The notification of one event; without an event, the counts alone."""

    devices: list[MatrixDevice]
    counts: MatrixCounts
    event_id: str | UnsetType = UNSET
    room_id: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    sender: str | UnsetType = UNSET
    content: MatrixContent | UnsetType = UNSET
    prio: str = "high"


class MatrixRequest(Struct, frozen=True):
    """The body of a request."""

    notification: MatrixNotification


class _Rejected(Struct, frozen=True):
    rejected: list[str]


_rejected = msgspec.json.Decoder(_Rejected)


class MatrixProvider:
    """A `sinks.push.provider_port.Provider` for `MatrixAddress`.

    Args:
        http: Sends the requests.
    """

    def __init__(self, http: HttpDelivery) -> None:
        self._http = http

    async def deliver(self, address: PushAddress, notification: Notification) -> DeliveryOutcome:
        """See `sinks.push.provider_port.Provider`."""
        if not isinstance(address, MatrixAddress):
            raise TypeError("not a Matrix address")
        body = encode(MatrixRequest(_notification(address, notification)))
        headers = {"Content-Type": "application/json"}
        try:
            answer = await self._http.post(address.gateway, body, headers, max_answer=_MAX_ANSWER)
        except ForbiddenAddress as error:
            return DeliveryRefused(str(error))
        outcome = outcome_of(answer)
        return _checked(answer.body, address) if outcome == Delivered() else outcome


def _notification(address: MatrixAddress, notification: Notification) -> MatrixNotification:
    devices = [MatrixDevice(address.app_id, address.pushkey)]
    counts = MatrixCounts(notification.unread)
    if not notification.unread:
        return MatrixNotification(devices=devices, counts=counts, prio="low")
    text = notification.text
    return MatrixNotification(
        devices=devices,
        counts=counts,
        event_id=notification.id,
        room_id=notification.conv_id,
        type="m.room.message",
        sender=UNSET if notification.sender is None else notification.sender,
        content=UNSET if text is None else MatrixContent(text),
    )


def _checked(body: bytes | None, address: MatrixAddress) -> DeliveryOutcome:
    """The outcome of a successful response, which lists the rejected pushkeys."""
    try:
        answer = decode(_rejected, body)
    except UndecodableRecord:
        raise DeliveryFailed("the response is not that of a push gateway") from None
    return Gone() if address.pushkey in answer.rejected else Delivered()
