"""The metrics of deliveries to servers outside of the deployment: push providers and webhooks."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol

from prometheus_client import CollectorRegistry

from backends.monitoring import outbound_catalog as catalog
from backends.monitoring.instruments import new_counter, new_gauge, new_histogram
from sinks.outbound.outcomes import Delivered, DeliveryOutcome, DeliveryRefused, Gone

_FAILED: Final = "failed"
_OUTCOMES: Final[dict[type[DeliveryOutcome], str]] = {
    Delivered: "delivered",
    DeliveryRefused: "refused",
    Gone: "gone",
}
"""The values of the label ``outcome``."""


class AttemptObserver(Protocol):
    """Receives the attempts of one delivery."""

    def attempted(self, outcome: DeliveryOutcome | None) -> None:
        """An attempt has ended; None if it failed and is repeated."""

    def retrying(self) -> AbstractContextManager[object]:
        """The time from the first failed attempt to the end of the delivery."""


class NoAttemptObserver:
    """For deliveries that nobody observes."""

    def attempted(self, outcome: DeliveryOutcome | None) -> None:
        """See `AttemptObserver`."""

    def retrying(self) -> AbstractContextManager[object]:
        """See `AttemptObserver`."""
        return nullcontext()


class OutboundMetrics:
    """The metrics of one process.

    Args:
        registry: The registry of the process.
        receivers: The values of the label ``receiver`` in this process.
    """

    def __init__(self, registry: CollectorRegistry, receivers: tuple[str, ...]) -> None:
        own = {"receiver": receivers}
        self.attempts = new_counter(registry, catalog.ATTEMPTS, own)
        self.retries = new_gauge(registry, catalog.OUTBOUND_RETRIES, own)
        self.dead_letters = new_counter(registry, catalog.OUTBOUND_DEAD_LETTERS, own)
        self.delays = new_histogram(registry, catalog.OUTBOUND_DELAY, own)


class ReceiverMetrics:
    """The metrics of one kind of receiver, an `AttemptObserver`. Thread-safe.

    Args:
        metrics: The metrics of the process.
        receiver: The value of the label ``receiver``.
    """

    def __init__(self, metrics: OutboundMetrics, receiver: str) -> None:
        self._attempts = metrics.attempts
        self._receiver = receiver
        self._retries = metrics.retries.labels(receiver)
        self._dead_letters = metrics.dead_letters.labels(receiver)
        self._delays = metrics.delays.labels(receiver)

    def attempted(self, outcome: DeliveryOutcome | None) -> None:
        """See `AttemptObserver`."""
        name = _FAILED if outcome is None else _OUTCOMES[type(outcome)]
        self._attempts.labels(self._receiver, name).inc()

    def retrying(self) -> AbstractContextManager[object]:
        """See `AttemptObserver`."""
        return self._retries.track_inprogress()

    def acknowledged(self, delay_seconds: float) -> None:
        """A delivery was acknowledged.

        Args:
            delay_seconds: The time since the broker's time of the entry. Less than 0 counts as 0:
                the clocks differ.
        """
        self._delays.observe(max(0.0, delay_seconds))

    def dead_letter(self) -> None:
        """A delivery was given up, and its dead letter is durable."""
        self._dead_letters.inc()
