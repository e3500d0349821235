"""The lag of a process: how far its position is behind the ends of its partitions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from prometheus_client import CollectorRegistry

from backends.kafka.partition_ends import written_ends
from backends.monitoring.instruments import ReadGauge
from backends.monitoring.metric_catalog import LAG, PARTITIONS
from backends.processes.minute_log import MinuteLog

_ENDS_SECONDS: Final = 2.0
"""Timeout of the request for the ends. Prometheus waits ten seconds for all metrics."""

Places = Callable[[], Sequence[TopicPartition]]
"""Returns the offset of the next record to finish in each partition of the process."""

_failures: Final = MinuteLog(logging.getLogger(__name__))


def add_lag(registry: CollectorRegistry, admin: AdminClient, stage: str, places: Places) -> None:
    """Adds the lag and the number of partitions of a process, read with one request a scrape.

    Args:
        registry: The registry of the process.
        admin: Sends the request.
        stage: The stage of the process.
        places: The positions of the process. Called by any thread.
    """

    def lag() -> float | None:
        positions = list(places())
        if not positions:
            return None  # a standby, or the partitions were lost together with the broker
        try:
            ends = written_ends(admin, positions, _ENDS_SECONDS)
        except (KafkaException, TimeoutError) as error:
            _failures.warning("the lag is not known: %s", error)
            return None
        _failures.end_condition()
        return sum(max(0, ends[each.topic, each.partition] - each.offset) for each in positions)

    ReadGauge(registry, LAG, lag, {"stage": stage})
    ReadGauge(registry, PARTITIONS, lambda: len(places()), {"stage": stage})
