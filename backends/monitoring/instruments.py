"""Makes the metrics of a process from their declarations. A series with closed labels begins at 0.

Prometheus sees no increase from a missing series to 1. So the first dead letter of a process
raises its alert only if the series was 0 before.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Lock
from typing import Final, TypeAlias, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from backends.monitoring.declared_metric import DeclaredMetric

_Instrument = TypeVar("_Instrument", Counter, Gauge, Histogram)
_Record = TypeVar("_Record")

MOST_SAMPLES: Final = 32
"""Records of a batch whose delay is measured. Of a larger batch, each measured record counts for
the records after it, up to the next measured one. A measurement may have to decode the record."""

Labels: TypeAlias = Mapping[str, str]
Choices: TypeAlias = Mapping[str, str | tuple[str, ...]]

# The time of creation of each counter would be one more series, which nothing reads.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # has no types


def new_counter(
    registry: CollectorRegistry, declared: DeclaredMetric, labels: Choices | None = None
) -> Counter:
    """A counter. ``labels`` are the values of some labels in this process: one, or several."""
    made = Counter(*_named(declared), registry=registry)
    return _begun(made, declared, labels or {})


def new_gauge(
    registry: CollectorRegistry, declared: DeclaredMetric, labels: Choices | None = None
) -> Gauge:
    """A gauge, as `new_counter`."""
    return _begun(Gauge(*_named(declared), registry=registry), declared, labels or {})


def new_histogram(
    registry: CollectorRegistry, declared: DeclaredMetric, labels: Choices | None = None
) -> Histogram:
    """A histogram, as `new_counter`."""
    made = Histogram(*_named(declared), buckets=declared.buckets, registry=registry)
    return _begun(made, declared, labels or {})


class ReadGauge(Collector):
    """A gauge that is read when somebody asks for the metrics.

    Args:
        registry: The registry of the process.
        declared: The gauge.
        read: Returns the value; None if there is none now. Called by any thread.
        labels: The values of all labels.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        declared: DeclaredMetric,
        read: Callable[[], float | None],
        labels: Labels | None = None,
    ) -> None:
        self._declared = declared
        self._read = read
        self._labels = labels or {}
        registry.register(self)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The gauge without a value, so that its registration does not read the value."""
        yield self._family()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauge with its present value."""
        family, value = self._family(), self._read()
        if value is not None:
            family.add_metric(list(self._labels.values()), value)
        yield family

    def _family(self) -> GaugeMetricFamily:
        declared = self._declared
        return GaugeMetricFamily(declared.name, declared.meaning, labels=list(self._labels))


class DelayHistogram(Collector):
    """A histogram of the delays of many records, with a bounded cost for each batch.

    Args:
        registry: The registry of the process.
        declared: The histogram, in seconds.
        labels: The values of all labels.
    """

    def __init__(
        self, registry: CollectorRegistry, declared: DeclaredMetric, labels: Labels
    ) -> None:
        self._declared = declared
        self._labels = labels
        self._bounds_ms = [bound * 1000 for bound in declared.buckets]
        self._counts = [0] * (len(self._bounds_ms) + 1)
        self._sum_ms = 0
        self._lock = Lock()
        registry.register(self)

    def observe(
        self, records: Sequence[_Record], time_of: Callable[[_Record], int | None], now_ms: int
    ) -> None:
        """Counts the records of a batch. Thread-safe.

        Args:
            records: The records.
            time_of: The broker's time of a record, in milliseconds since 1970. A record with None
                does not count.
            now_ms: The end of the delay, in milliseconds since 1970.
        """
        total = len(records)
        step = max(1, -(-total // MOST_SAMPLES))
        with self._lock:
            for index in range(0, total, step):
                at = time_of(records[index])
                if at is None:
                    continue
                delay_ms, count = max(0, now_ms - at), min(step, total - index)
                self._counts[bisect_left(self._bounds_ms, delay_ms)] += count
                self._sum_ms += delay_ms * count

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """The histogram without values."""
        yield self._family()

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """The histogram with its present values."""
        with self._lock:
            counts, sum_ms = list(self._counts), self._sum_ms
        bounds = [str(float(bound)) for bound in self._declared.buckets] + ["+Inf"]
        buckets = list(zip(bounds, itertools.accumulate(counts), strict=True))
        family = self._family()
        family.add_metric(list(self._labels.values()), buckets, sum_ms / 1000)
        yield family

    def _family(self) -> HistogramMetricFamily:
        declared = self._declared
        return HistogramMetricFamily(declared.name, declared.meaning, labels=list(self._labels))


def _named(declared: DeclaredMetric) -> tuple[str, str, list[str]]:
    return declared.name, declared.meaning, [label.name for label in declared.labels]


def _begun(made: _Instrument, declared: DeclaredMetric, given: Choices) -> _Instrument:
    """Begins the series of closed labels at 0. ``given``: the values of labels in this process."""
    if not declared.labels:
        return made
    choices = [given.get(label.name, label.values) for label in declared.labels]
    for values in itertools.product(*((e,) if isinstance(e, str) else e for e in choices)):
        made.labels(*values)
    return made
