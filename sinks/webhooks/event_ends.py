"""The dead letters of events, and the ends of their replays: durable before the position."""

from __future__ import annotations

import logging
from contextlib import suppress
from threading import Event

from backends.stages.webhook_log import subscription_stage
from schemas.errors import RetryableError
from schemas.webhooks import WebhookSubscription
from sinks.base.retry import attempts
from sinks.base.sink_letters import DeadLetter
from sinks.outbound.outcomes import Delivered, Gone
from sinks.webhooks.event_lane import EventFlight, EventLane, EventOutcome
from sinks.webhooks.event_replays import ReplayedEvent
from sinks.webhooks.event_requests import reason_of
from sinks.webhooks.runner_parts import RunnerParts

_logger = logging.getLogger(__name__)


def note_end(
    parts: RunnerParts, webhook: str, flight: EventFlight, outcome: EventOutcome, stop: Event
) -> None:
    """Puts an event aside that was not acknowledged, and ends its replay if it is one.

    Raises:
        RetryableError: The process stops before the broker has confirmed both.
    """
    record = flight.record
    if not isinstance(outcome, Delivered | Gone):
        reason = reason_of(outcome)
        _logger.warning(
            "webhook %s: partition %d offset %d is a dead letter: %s",
            webhook, record.partition, record.offset, reason,
        )  # fmt: skip
        for attempt in attempts("sending a dead letter", stop):
            with attempt:
                parts.letters.send([DeadLetter(record, reason)])
    if flight.replay is not None:
        for attempt in attempts("noting the end of a replay", stop):
            with attempt:
                parts.replays.finish(flight.replay)


def next_replay(
    parts: RunnerParts, subscription: WebhookSubscription, lane: EventLane
) -> ReplayedEvent | None:
    """The next event of a partition that an operator replays. Ends requests without an event."""
    stage = subscription_stage(subscription.id)
    found = parts.replays.next(stage, lane.partition, subscription, lane.since)
    if found is None or found.entry is not None:
        return found
    with suppress(RetryableError):  # otherwise the next call repeats it
        parts.replays.finish(found.key)
    return None
