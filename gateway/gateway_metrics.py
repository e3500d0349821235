"""The metrics of a gateway."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Literal, TypeAlias

from prometheus_client import CollectorRegistry, Counter

from backends.monitoring import metric_catalog as catalog
from backends.monitoring.instruments import (
    DelayHistogram,
    ReadGauge,
    new_counter,
    new_histogram,
)
from gateway import bounds
from schemas.codec import decode_position
from schemas.errors import UndecodableRecord

SendOutcome: TypeAlias = Literal[
    "accepted", "duplicate", "rejected", "refused", "pending", "unknown", "unavailable", "failed"
]
"""The outcome of a command for its client, see `im_sends_total`."""

_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})


class GatewayMetrics:
    """The metrics of one gateway. For one event loop, which counts; any thread may read.

    Args:
        registry: The registry of the process.
        now: The time in seconds since 1970.
    """

    def __init__(self, registry: CollectorRegistry, now: Callable[[], float] = time.time) -> None:
        self._registry = registry
        self._now = now
        self._requests = new_counter(registry, catalog.REQUESTS)
        self._by_answer: dict[tuple[str, str, int], Counter] = {}
        self._durations = new_histogram(registry, catalog.REQUEST_SECONDS_HISTOGRAM)
        self._sends = new_counter(registry, catalog.SENDS)
        self._live_records = new_counter(registry, catalog.LIVE_RECORDS)
        self._delays = DelayHistogram(
            registry, catalog.DELAY, {"until": catalog.DELAY_ENDS[catalog.GATEWAY_STAGE]}
        )

    def answered(self, route: str, method: str, status: int) -> None:
        """Counts an answered request. ``route`` is the pattern of its path."""
        method = method if method in _METHODS else "other"
        key = route, method, status
        counter = self._by_answer.get(key)
        if counter is None:
            counter = self._by_answer[key] = self._requests.labels(route, method, str(status))
        counter.inc()

    def lasted(self, seconds: float) -> None:
        """Counts the duration of a short request."""
        self._durations.observe(seconds)

    def sent(self, outcome: SendOutcome) -> None:
        """Counts the outcome of a command."""
        self._sends.labels(outcome).inc()

    def sent_live(self, count: int, logged: Sequence[bytes] = ()) -> None:
        """Counts records that were sent over a live connection.

        Args:
            count: The number of records.
            logged: Those that the log has brought, whose delay is measured.
        """
        self._live_records.inc(count)
        if logged:
            self._delays.observe(logged, _time_of, int(self._now() * 1000))

    def show(
        self,
        *,
        in_progress: Callable[[], int],
        connections: Callable[[], int],
        listeners: Callable[[], int],
        follows_log: Callable[[], bool],
    ) -> None:
        """Adds the gauges, which are read when somebody asks for the metrics."""
        registry = self._registry
        ReadGauge(registry, catalog.IN_PROGRESS, in_progress)
        ReadGauge(registry, catalog.CONNECTIONS_OPEN, connections)
        ReadGauge(registry, catalog.CONNECTIONS_LIMIT, lambda: bounds.MAX_CONNECTIONS)
        ReadGauge(registry, catalog.LISTENERS, listeners)
        ReadGauge(registry, catalog.LOG_FOLLOWED, follows_log)


def _time_of(message: bytes) -> int | None:
    with suppress(UndecodableRecord):
        return decode_position(message).at
    return None
