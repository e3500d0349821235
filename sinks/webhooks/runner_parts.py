"""The parts of a runner."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple, Protocol

from backends.processes.watchdog import Vitals
from schemas.number_types import Offset
from schemas.records import AnyEntry
from schemas.webhooks import WebhookSubscription
from sinks.base.commits import Commits
from sinks.base.consumer import SourceConsumer
from sinks.base.sink_letters import DeadLetters
from sinks.webhooks.event_lane import EventOutcome
from sinks.webhooks.event_replays import Replays
from sinks.webhooks.event_requests import Attempts

BeginDelivery = Callable[[WebhookSubscription, int, AnyEntry, Attempts], Future[EventOutcome]]
"""Begins a delivery: see `sinks.webhooks.event_requests.EventRequests.deliver`."""


class Scout(Protocol):
    """See `sinks.webhooks.recall_scout.RecallScout`."""

    def need(self, partition: int, offset: Offset) -> None:
        """Makes the recalls at or after an offset known."""


class RunnerParts(NamedTuple):
    """The parts of one runner.

    ``consumer``: a consumer of the subscription's group, without a topic. ``commits``: its
    commits; its ``on_commit`` is `Commits.answered`. ``begin``: begins deliveries. ``letters``:
    takes dead letters. ``replays``: the events that operators replay. ``scout``: learns from which
    position on recalls must be known.
    ``assigned``: called after an assignment of partitions; must not block. ``vitals``: receives
    the progress of the loop, for a watchdog.
    """

    consumer: SourceConsumer
    commits: Commits
    begin: BeginDelivery
    letters: DeadLetters
    replays: Replays
    scout: Scout
    assigned: Callable[[], None]
    vitals: Vitals
