"""The port between the push stage and its providers."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from schemas.number_types import Milliseconds, SeqId
from schemas.push_addresses import PushAddress
from sinks.outbound.outcomes import DeliveryOutcome


class Notification(Struct, frozen=True, kw_only=True):
    """A notification for one device, about the newest message of one conversation.

    ``id``: the same for the same (device, conversation, ``seq``) at every attempt, also after a
    restart; at most 64 characters of the alphabet of base64url. ``seq``: the SeqId of the newest
    message. ``sender`` and ``text``: None if the deployment does not push them. ``unread``: the
    number of unread messages of the conversation; 0 asks the device to remove the notification.
    ``at``: the broker's time of the message, in milliseconds since 1970.
    """

    id: str
    user_id: str
    device_id: str
    conv_id: str
    seq: SeqId
    sender: str | None
    text: str | None
    unread: int
    at: Milliseconds


class Provider(Protocol):
    """Delivers notifications to the addresses of one kind, or of all kinds."""

    async def deliver(self, address: PushAddress, notification: Notification) -> DeliveryOutcome:
        """Makes one attempt to deliver a notification. Ends within the timeout of one request.

        Several calls may run at once. The caller makes no further call for a notification after
        an outcome, and repeats the call after `DeliveryFailed`, with `DestinationSender`.

        Args:
            address: The address that the device has registered.
            notification: The notification. A repeated call has the same notification.

        Raises:
            DeliveryFailed: A later attempt may succeed.
        """
        ...
