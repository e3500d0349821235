"""The requests for the events of subscriptions."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Final, Protocol

from schemas.codec import encode
from schemas.outbound_urls import ForbiddenAddress
from schemas.records import AnyEntry, MessageEdited, MessageSent
from schemas.webhooks import WebhookBody, WebhookSubscription, webhook_data, webhook_event_of
from sinks.outbound.destination_sender import DestinationSender, Expired
from sinks.outbound.http_delivery import HttpDelivery, outcome_of
from sinks.outbound.iso_time import iso_time
from sinks.outbound.outbound_metrics import ReceiverMetrics
from sinks.outbound.outcomes import (
    Delivered,
    DeliveryFailed,
    DeliveryOutcome,
    DeliveryRefused,
    Gone,
)
from sinks.outbound.signatures import Signer

MIN_RETRY_SECONDS: Final = 600.0
"""An old event, such as after a long stop of the stage, is repeated for at least this time."""

REPLAY_SECONDS: Final = 10.0
"""The time for the attempts of a replay. The next events of the partition wait meanwhile."""

_ID_BYTES: Final = 20
_SCOUT_SECONDS: Final = 0.05


class KnownRecalls(Protocol):
    """The recalls that are on the log: see `sinks.webhooks.recall_scout.RecallScout`."""

    def is_recalled(self, partition: int, conv_id: str, seq: int) -> bool | None:
        """Whether a message or an edit was recalled; None if that is not known yet."""
        ...


class EventRequests:
    """Delivers single events to subscriptions.

    Args:
        http: Sends the requests.
        sender: Repeats them. Each subscription is a destination of its own.
        recalls: The recalls that are on the log.
        retry_seconds: The age of an event at which its last attempt begins.
        metrics: The metrics of all webhooks.
        now: The time in seconds since 1970.
    """

    def __init__(  # noqa: PLR0913 - the parts of a request
        self,
        http: HttpDelivery,
        sender: DestinationSender,
        recalls: KnownRecalls,
        retry_seconds: float,
        *,
        metrics: ReceiverMetrics,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._http = http
        self._sender = sender
        self._recalls = recalls
        self._retry_seconds = retry_seconds
        self._metrics = metrics
        self._now = now

    async def deliver(
        self,
        subscription: WebhookSubscription,
        partition: int,
        entry: AnyEntry,
        attempts: Attempts,
    ) -> DeliveryOutcome | Expired:
        """Repeats the request for an event until its outcome.

        Args:
            subscription: The subscription.
            partition: The partition of the entry on the timeline.
            entry: An entry that the subscription has chosen.
            attempts: Notes whether a request is in flight. A replay has a short deadline.
        """
        age = self._now() - entry.at / 1000
        rest = max(self._retry_seconds - age, MIN_RETRY_SECONDS)
        if attempts.is_replay:
            rest = REPLAY_SECONDS
        deadline = asyncio.get_running_loop().time() + rest
        signer = Signer(subscription.secrets)

        async def attempt() -> DeliveryOutcome:
            text, recalled = subscription.text, False
            if text and isinstance(entry, MessageSent | MessageEdited):
                recalled = await self._is_recalled(partition, entry)
            body = _body(entry, text=text, recalled=recalled)
            message_id = event_id(subscription.id, entry)
            headers = signer.headers(message_id, body.decode(), self._now())
            with attempts:
                return await self._post(subscription.url, body, headers)

        outcome = await self._sender.send(subscription.id, attempt, deadline, self._metrics)
        if outcome == Delivered() and not attempts.is_replay:  # a replay may be days late
            self._metrics.acknowledged(self._now() - entry.at / 1000)
        return outcome

    async def _is_recalled(self, partition: int, entry: MessageSent | MessageEdited) -> bool:
        """Waits until the recalls are known. The timeout of the attempt ends the wait."""
        while True:
            found = self._recalls.is_recalled(partition, entry.conv_id, entry.seq)
            if found is not None:
                return found
            await asyncio.sleep(_SCOUT_SECONDS)

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> DeliveryOutcome:
        try:
            answer = await self._http.post(url, body, headers)
        except ForbiddenAddress as error:
            # A change of the settings can permit the address, and then no event is missing.
            raise DeliveryFailed(str(error)) from None
        outcome = outcome_of(answer)
        if outcome == Gone():
            # The operator decides whether the subscription ends.
            raise DeliveryFailed(f"status {answer.status}")
        return outcome


class Attempts:
    """Whether a request for an event is in flight. A context manager for the time of a request.

    Args:
        is_replay: Whether an operator replays the event.
    """

    def __init__(self, *, is_replay: bool = False) -> None:
        self.is_replay = is_replay
        self.is_requesting = False

    def __enter__(self) -> None:
        self.is_requesting = True

    def __exit__(self, *_: object) -> None:
        self.is_requesting = False


def event_id(subscription_id: str, entry: AnyEntry) -> str:
    """The id of an event, the same at each attempt and after each restart."""
    digest = sha256(encode([subscription_id, entry.conv_id, entry.seq])).digest()[:_ID_BYTES]
    return f"evt_{base64.b32encode(digest).decode().lower()}"


def reason_of(outcome: DeliveryRefused | Expired) -> str:
    """The reason of the dead letter of an event."""
    if isinstance(outcome, Expired):
        return f"the event was not acknowledged in time: {outcome.reason}"
    return f"the receiver refuses the event: {outcome.reason}"


def _body(entry: AnyEntry, *, text: bool, recalled: bool) -> bytes:
    kind = webhook_event_of(entry)
    if kind is None:
        raise TypeError(f"{type(entry).__name__} is no event")
    data = webhook_data(entry, text=text, recalled=recalled)
    return encode(WebhookBody(kind, iso_time(entry.at), data))
