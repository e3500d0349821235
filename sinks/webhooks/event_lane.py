"""One partition of the timeline for one subscription: its events, one after another."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, wait
from typing import Final, TypeAlias

from msgspec import Struct

from schemas.number_types import Offset
from schemas.records import AnyEntry
from schemas.replays import ReplayKey
from sinks.base.records import Record
from sinks.outbound.destination_sender import Expired
from sinks.outbound.outcomes import DeliveryOutcome
from sinks.webhooks.event_requests import Attempts

MAX_READ_AHEAD: Final = 200
"""Maximum number of records of one partition in memory. A record has at most some 10 KB."""

REQUEST_END_SECONDS: Final = 12.0
"""How long an end or a rebalance waits for a request in flight: longer than its timeout."""

_WAIT_SECONDS: Final = 0.05

EventOutcome: TypeAlias = DeliveryOutcome | Expired


class EventFlight(Struct):
    """An event whose delivery was begun. ``replay``: the request, if an operator replays it."""

    record: Record
    future: Future[EventOutcome]
    attempts: Attempts
    replay: ReplayKey | None = None

    def outcome(self) -> EventOutcome | None:
        """The outcome; None while there is none, or if the delivery was cancelled."""
        if not self.future.done():
            return None
        try:
            return self.future.result(0)
        except CancelledError:
            return None


def end_flights(
    flights: Sequence[EventFlight], clock: Callable[[], float] = time.monotonic
) -> None:
    """Waits for the requests in flight, within a bound. A pause between attempts ends at once."""
    deadline = clock() + REQUEST_END_SECONDS
    left = list(flights)
    while left and clock() < deadline:
        wait([each.future for each in left], _WAIT_SECONDS)
        # A request that ended just now had time to return its result.
        left = [e for e in left if e.attempts.is_requesting and not e.future.done()]
    for each in flights:
        each.future.cancel()


class WaitingEvent(Struct, frozen=True):
    """A record that was read. ``entry``: None if the subscription has not chosen the record."""

    record: Record
    entry: AnyEntry | None


class EventLane:
    """The state of one assigned partition.

    At most one event is in flight. The next one begins when the position behind it is committed,
    so a kill repeats at most one acknowledged event of each partition.
    """

    def __init__(self, topic: str, partition: int, since: float) -> None:
        self.topic = topic
        self.partition = partition
        self.since = since
        """When the partition was assigned."""
        self.waiting: deque[WaitingEvent | Offset] = deque()
        """Records, and offsets up to which the partition has no further records."""
        self.flight: EventFlight | None = None
        self.unconfirmed: Offset | None = None
        self.is_paused = False
        self.is_known = False

    @property
    def is_full(self) -> bool:
        """Whether the lane takes no more records now."""
        return len(self.waiting) >= MAX_READ_AHEAD

    @property
    def is_free(self) -> bool:
        """Whether the next event may begin."""
        return self.is_known and self.flight is None and self.unconfirmed is None
