"""Values of metrics: of a registry in this process, or of the text that a process serves."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families


class MetricValues:
    """The series of one process.

    Args:
        text: What `/metrics` serves.
    """

    def __init__(self, text: str) -> None:
        self.samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of the series with this name and these labels; 0 if there is none."""
        return sum(
            sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def has(self, name: str, **labels: str) -> bool:
        """Whether there is a series with this name and these labels."""
        return any(
            sample.name == name and labels.items() <= sample.labels.items()
            for sample in self.samples
        )

    def by(self, name: str, label: str) -> dict[str, float]:
        """The values of a name that are not 0, by the value of one label."""
        values: dict[str, float] = {}
        for sample in self.samples:
            if sample.name == name and sample.value:
                key = sample.labels[label]
                values[key] = values.get(key, 0) + sample.value
        return values


def values_of(registry: CollectorRegistry) -> MetricValues:
    """The present values of a registry."""
    return MetricValues(generate_latest(registry).decode())
