"""The metrics of a sink: a few operations for each batch, none for each record."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry

from backends.monitoring import metric_catalog as catalog
from backends.monitoring.instruments import DelayHistogram, new_counter, new_histogram
from schemas.dead_letters import reason_class
from sinks.base.counts import CountsOf
from sinks.base.progress import entry_time
from sinks.base.records import Record


class DeliveryObserver(Protocol):
    """Receives the results of `sinks.base.delivery.BatchDelivery`, in its thread."""

    def retried(self) -> None:
        """An attempt to write has failed and is repeated."""

    def finished(
        self, records: Sequence[Record], counts: CountsOf, reasons: Sequence[str], seconds: float
    ) -> None:
        """A batch is durable.

        Args:
            records: The records of the batch.
            counts: The counts of the batch.
            reasons: The reasons of its dead letters.
            seconds: The duration of the delivery.
        """


class NoObserver:
    """For a delivery that nobody observes."""

    def retried(self) -> None:
        """See `DeliveryObserver`."""

    def finished(
        self, records: Sequence[Record], counts: CountsOf, reasons: Sequence[str], seconds: float
    ) -> None:
        """See `DeliveryObserver`."""


class SinkMetrics:
    """The metrics of one sink. A `DeliveryObserver`.

    Args:
        stage: The stage, such as ``sink-message``.
        registry: The registry of the process.
        now: The time in seconds since 1970.
    """

    def __init__(
        self, stage: str, registry: CollectorRegistry, now: Callable[[], float] = time.time
    ) -> None:
        own = {"stage": stage}
        self._now = now
        self._records = new_counter(registry, catalog.FINISHED, own).labels(stage)
        self._sizes = new_histogram(registry, catalog.BATCH_SIZES, own).labels(stage)
        self._durations = new_histogram(registry, catalog.BATCH_SECONDS, own).labels(stage)
        self._retries = new_counter(registry, catalog.RETRIES, own).labels(stage)
        self._letters = new_counter(registry, catalog.DEAD_LETTERS, own)
        self._delays = DelayHistogram(
            registry, catalog.DELAY, {"until": catalog.DELAY_ENDS[stage]}
        )
        self._stage = stage
        self._rows = (
            new_counter(registry, catalog.ROW_DELIVERIES)
            if stage in catalog.ROW_DELIVERIES.processes
            else None
        )

    def retried(self) -> None:
        """See `DeliveryObserver`."""
        self._retries.inc()

    def finished(
        self, records: Sequence[Record], counts: CountsOf, reasons: Sequence[str], seconds: float
    ) -> None:
        """See `DeliveryObserver`."""
        self._records.inc(len(records))
        self._sizes.observe(len(records))
        self._durations.observe(seconds)
        self._delays.observe(records, _time_of, int(self._now() * 1000))
        for reason in reasons:
            self._letters.labels(self._stage, reason_class(reason)).inc()
        if self._rows is not None:
            self._rows.labels("written").inc(sum(each.written for each in counts.values()))
            self._rows.labels("skipped").inc(sum(each.skipped for each in counts.values()))


def _time_of(record: Record) -> int | None:
    return entry_time(record.value)
