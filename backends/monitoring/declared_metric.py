"""The declaration of a metric, as `backends.monitoring.metric_catalog` has it for each metric."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

MetricKind: TypeAlias = Literal["counter", "gauge", "histogram"]


class MetricLabel(NamedTuple):
    """A label.

    ``values``: all values. Empty if ``bounded_by`` says what bounds the number of values.
    """

    name: str
    values: tuple[str, ...] = ()
    bounded_by: str = ""


class DeclaredMetric(NamedTuple):
    """A metric.

    ``processes``: the kinds of processes that have the metric. ``buckets``: the upper bounds of
    the buckets of a histogram, in ``unit``.
    """

    name: str
    kind: MetricKind
    unit: str
    meaning: str
    processes: tuple[str, ...]
    labels: tuple[MetricLabel, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def series_names(self) -> tuple[str, ...]:
        """The names of the series that Prometheus stores."""
        if self.kind != "histogram":
            return (self.name,)
        return tuple(f"{self.name}{suffix}" for suffix in ("_bucket", "_count", "_sum"))
