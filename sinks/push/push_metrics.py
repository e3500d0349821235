"""The metrics of notifications: their deliveries by kind of provider, and those not needed."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry

from backends.monitoring import outbound_catalog as catalog
from backends.monitoring.instruments import new_counter
from schemas.push_addresses import MatrixAddress, PushAddress, WebhookAddress, WebPushAddress
from sinks.outbound.outbound_metrics import OutboundMetrics, ReceiverMetrics
from sinks.push.push_drops import DropReason

_WEBHOOK, _MATRIX, _WEB_PUSH = catalog.PUSH_RECEIVERS
_RECEIVERS: Final[dict[type[PushAddress], str]] = {
    WebhookAddress: _WEBHOOK,
    MatrixAddress: _MATRIX,
    WebPushAddress: _WEB_PUSH,
}


class PushMetrics:
    """The metrics of the push stage. Thread-safe.

    Args:
        registry: The registry of the stage.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        outbound = OutboundMetrics(registry, catalog.PUSH_RECEIVERS)
        self._by_kind = {
            kind: ReceiverMetrics(outbound, receiver) for kind, receiver in _RECEIVERS.items()
        }
        self._dropped = new_counter(registry, catalog.DROPPED)

    def of(self, address: PushAddress) -> ReceiverMetrics:
        """The metrics of the provider of an address."""
        return self._by_kind[type(address)]

    def dropped(self, reason: DropReason, count: int) -> None:
        """Messages do not cause a notification of their own."""
        self._dropped.labels(reason).inc(count)
