"""The metrics of the sequencer: a few operations for each transaction, none for each record."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry

from backends.monitoring import metric_catalog as catalog
from backends.monitoring.instruments import DelayHistogram, new_counter, new_histogram
from backends.stages.stage_names import SEQUENCER
from schemas.dead_letters import reason_class
from stream_processors.commit.lane_records import WrittenRecords
from stream_processors.sequencing.source_record import SourceRecord
from stream_processors.state.state_codec import CommandCounts

_OWN: Final = {"stage": SEQUENCER}
_time_of: Final[Callable[[SourceRecord], int | None]] = attrgetter("timestamp")


class CommittedBatch(NamedTuple):
    """The records of one lane in a committed transaction.

    ``before`` and ``after``: the counts of the partition.
    """

    records: Sequence[SourceRecord]
    before: CommandCounts
    after: CommandCounts
    rejections: Counter[str]
    written: WrittenRecords


class SequencerMetrics:
    """The metrics of one worker. Thread-safe: all lanes use them.

    Args:
        registry: The registry of the process.
        now: The time in seconds since 1970.
    """

    def __init__(self, registry: CollectorRegistry, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._restores = new_histogram(registry, catalog.RESTORE)
        self._finished = new_counter(registry, catalog.FINISHED, _OWN).labels(SEQUENCER)
        self._sizes = new_histogram(registry, catalog.BATCH_SIZES, _OWN).labels(SEQUENCER)
        self._durations = new_histogram(registry, catalog.BATCH_SECONDS, _OWN).labels(SEQUENCER)
        self._letters = new_counter(registry, catalog.DEAD_LETTERS, _OWN)
        commands = new_counter(registry, catalog.COMMANDS)
        self._accepted = commands.labels("accepted")
        self._duplicates = commands.labels("duplicate")
        self._rejected = commands.labels("rejected")
        self._rejections = new_counter(registry, catalog.REJECTIONS)
        self._entries = new_counter(registry, catalog.ENTRIES)
        self._deliveries = new_counter(registry, catalog.DELIVERIES)
        self._sync_records = new_counter(registry, catalog.SYNC_RECORDS)
        self._delays = DelayHistogram(
            registry, catalog.DELAY, {"until": catalog.DELAY_ENDS[SEQUENCER]}
        )

    def restored(self, seconds: float) -> None:
        """Counts the restore of one partition."""
        self._restores.observe(seconds)

    def committed(self, batches: Sequence[CommittedBatch], seconds: float) -> None:
        """Counts a committed transaction.

        Args:
            batches: The batches of its lanes.
            seconds: Its duration.
        """
        self._sizes.observe(sum([self._count(batch) for batch in batches]))
        self._durations.observe(seconds)

    def _count(self, batch: CommittedBatch) -> int:
        """Counts the batch of a lane; returns the number of finished commands."""
        before, after, written = batch.before, batch.after, batch.written
        accepted = after.accepted - before.accepted
        duplicates = after.duplicates - before.duplicates
        rejected = after.rejected - before.rejected + after.stale - before.stale
        finished = accepted + duplicates + rejected + after.dead_letters - before.dead_letters
        self._accepted.inc(accepted)
        self._duplicates.inc(duplicates)
        self._rejected.inc(rejected)
        self._finished.inc(finished)
        self._entries.inc(written.entries)
        self._deliveries.inc(written.deliveries)
        self._sync_records.inc(written.sync_records)
        self._delays.observe(batch.records, _time_of, int(self._now() * 1000))
        for code, count in batch.rejections.items():
            self._rejections.labels(code).inc(count)
        for reason in written.letter_reasons:
            self._letters.labels(SEQUENCER, reason_class(reason)).inc()
        return finished
