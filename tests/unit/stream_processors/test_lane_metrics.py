"""The metrics of the sequencer after transactions."""

from __future__ import annotations

from collections import Counter

import pytest
from prometheus_client import CollectorRegistry

from schemas.limits import Limits
from schemas.number_types import Offset
from schemas.records import AnyCommand
from stream_processors.commit.lane_records import WrittenRecords
from stream_processors.lanes.lane_metrics import CommittedBatch, SequencerMetrics
from stream_processors.sequencing.headerless_records import SkippedOffsets
from stream_processors.sequencing.sequencer import Sequencer
from stream_processors.sequencing.source_record import SourceRecord
from stream_processors.state.conversations import Conversations
from stream_processors.state.state_codec import CommandCounts, LaneProgress
from tests.support.commands import growing_group, message
from tests.support.metric_values import values_of
from tests.support.sequencing import Log, source

NOTHING_WRITTEN = WrittenRecords(0, 0, 0, [])


def test_a_transaction_counts_its_commands_by_outcome() -> None:
    """Counts of one partition become the difference between two transactions, with all codes."""
    registry = CollectorRegistry()
    metrics = SequencerMetrics(registry, now=lambda: 2.0)
    commands: list[AnyCommand] = [
        *growing_group(1),
        message(1),
        message(1),
        message(2, sender="stranger"),
        message(3, conv_id="nowhere"),
    ]
    records: list[SourceRecord] = [source(at, each) for at, each in enumerate(commands)]
    sequencer = Sequencer(Limits(), Conversations(), LaneProgress())
    log = Log()
    for each in records:
        sequencer.process(each, log)
    batch = CommittedBatch(
        records, CommandCounts(), sequencer.counts, sequencer.take_rejections(),
        WrittenRecords(2, 4, 3, ["the value is not JSON"]),
    )  # fmt: skip
    metrics.committed([batch], 0.02)

    values = values_of(registry)
    assert values.by("im_commands_total", "outcome") == {
        "accepted": 2,
        "duplicate": 1,
        "rejected": 2,
    }
    assert values.by("im_rejections_total", "code") == {
        "not_a_member": 1,
        "unknown_conversation": 1,
    }
    assert values("im_stage_records_total", stage="sequencer") == 5
    assert values("im_batch_records_sum") == 5
    assert values("im_delay_seconds_count", until="sequenced") == 5
    assert values("im_delay_seconds_sum") == pytest.approx(5 - 0.010)
    assert (values("im_entries_total"), values("im_deliveries_total")) == (2, 4)
    assert values("im_sync_records_total") == 3
    assert values.by("im_dead_letters_total", "reason") == {"undecodable": 1}
    assert sequencer.take_rejections() == Counter()


def test_offsets_without_records_do_not_count() -> None:
    """Markers of transactions in the source are no records, and have no delay."""
    registry = CollectorRegistry()
    skipped: list[SourceRecord] = [SkippedOffsets(Offset(0), Offset(3))]
    batch = CommittedBatch(skipped, CommandCounts(), CommandCounts(), Counter(), NOTHING_WRITTEN)
    SequencerMetrics(registry).committed([batch], 0.01)
    values = values_of(registry)
    assert values("im_stage_records_total") == values("im_delay_seconds_count") == 0
    assert values("im_batch_seconds_count") == 1


def test_lanes_of_one_transaction_are_one_batch() -> None:
    """The size and the duration of a transaction count once, whatever number of lanes it has."""
    registry = CollectorRegistry()
    batches = [
        CommittedBatch(
            [], CommandCounts(), CommandCounts(accepted=count), Counter(), NOTHING_WRITTEN
        )
        for count in (3, 4)
    ]
    SequencerMetrics(registry).committed(batches, 0.02)
    values = values_of(registry)
    assert (values("im_batch_records_count"), values("im_batch_records_sum")) == (1, 7)
    assert values("im_batch_seconds_count") == 1
    assert values("im_stage_records_total", stage="sequencer") == 7


def test_a_restore_counts_with_its_duration() -> None:
    """The histogram of restores has one observation for each partition."""
    registry = CollectorRegistry()
    metrics = SequencerMetrics(registry)
    metrics.restored(0.2)
    metrics.restored(45)
    values = values_of(registry)
    assert values("im_restore_seconds_count") == 2
    assert values("im_restore_seconds_bucket", le="30.0") == 1
