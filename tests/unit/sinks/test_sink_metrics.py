"""The metrics of a sink after batches, retries and dead letters."""

from __future__ import annotations

from threading import Event

import pytest
from prometheus_client import CollectorRegistry

from schemas.errors import PoisonRecord, TransientFailure
from sinks.base import retry
from sinks.base.counts import DeliveryCounts
from sinks.base.delivery import BatchDelivery
from sinks.base.poison import PoisonGuard, PoisonLimits
from sinks.base.sink_metrics import SinkMetrics
from sinks.base.writer_port import WriteOutcome
from tests.support.metric_values import MetricValues, values_of
from tests.support.sink_fakes import FakeDeadLetters, FakeWriter, record


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without a pause."""
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.0)


def delivered(stage: str, writer: FakeWriter, values: list[bytes]) -> MetricValues:
    """The metrics of a sink at time 100 s, after the delivery of one batch."""
    registry = CollectorRegistry()
    metrics = SinkMetrics(stage, registry, now=lambda: 100.0)
    guard = PoisonGuard(PoisonLimits(run=1_000))
    delivery = BatchDelivery(writer, FakeDeadLetters(), guard, observer=metrics)
    delivery.deliver([record(at, value) for at, value in enumerate(values)], Event())
    return values_of(registry)


def test_a_batch_counts_its_records_and_their_delays() -> None:
    """The delay is measured from the time in the entry; a batch counts once."""
    values = [b'{"at": 99900}'] * 3 + [b'{"at": 92000}']
    metrics = delivered("sink-message", FakeWriter(), values)
    assert metrics("im_stage_records_total", stage="sink-message") == 4
    assert metrics("im_batch_records_count") == metrics("im_batch_seconds_count") == 1
    assert metrics("im_batch_records_sum") == 4
    assert metrics("im_delay_seconds_count", until="stored") == 4
    assert metrics("im_delay_seconds_bucket", le="0.1") == 3
    assert metrics("im_delay_seconds_sum") == pytest.approx(8.3)


def test_failed_attempts_and_dead_letters_count() -> None:
    """Each repeated attempt counts, and each dead letter counts in the class of its reason."""
    refused = PoisonRecord(0, "Cassandra refuses the row")
    broken = PoisonRecord(1, "the value is not JSON")
    writer = FakeWriter(
        TransientFailure("away"),
        WriteOutcome(to_retry=[0, 1]),
        WriteOutcome([refused, broken]),
    )
    metrics = delivered("sink-search", writer, [b"{", b"{"])
    assert metrics("im_write_retries_total", stage="sink-search") == 2
    assert metrics.by("im_dead_letters_total", "reason") == {
        "refused_by_store": 1,
        "undecodable": 1,
    }
    assert metrics("im_stage_records_total") == 2
    assert metrics.has("im_delay_seconds_count", until="indexed")
    assert metrics("im_delay_seconds_count") == 0


def test_the_sync_sink_counts_deliveries_to_inactive_people() -> None:
    """Written and skipped deliveries are those of the writer's counts."""
    counts = {0: DeliveryCounts(written=5, skipped=7)}
    metrics = delivered("sink-sync", FakeWriter(WriteOutcome(counts=counts)), [b'{"at": 1}'])
    assert metrics.by("im_row_deliveries_total", "outcome") == {"written": 5, "skipped": 7}
    assert metrics("im_delay_seconds_count", until="listed") == 1
