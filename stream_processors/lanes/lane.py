"""A lane: one source partition, its state, and the records that wait for its writer.

A thread claims the partition, restores its state and adds the lane to the writer. Afterwards the
thread only checks that records on the broker reach the lane.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaException

from backends.processes.minute_log import MinuteLog
from backends.processes.traces import Traces
from schemas.errors import ServerUnavailable, SourceGap
from schemas.number_types import Offset
from schemas.settings import Settings
from stream_processors.commit.claims import WriterClaims
from stream_processors.commit.lane_destinations import LaneDestinations
from stream_processors.commit.lane_records import LaneRecords
from stream_processors.lanes.inbox import IDLE_CHECK_SECONDS, Feed, Inbox
from stream_processors.lanes.lane_metrics import SequencerMetrics
from stream_processors.lanes.source_check import SourcePartition, check_begin, check_start
from stream_processors.lanes.starvation import Starvation
from stream_processors.lanes.writer import Writer, ends_process
from stream_processors.sequencing.sequencer import Sequencer
from stream_processors.sequencing.source_record import SourceRecord
from stream_processors.state.restore import holds_records, restore, source_end
from stream_processors.state.state_codec import LaneProgress

log = logging.getLogger(__name__)

_silence: Final = MinuteLog(log)
"""Shared by all lanes, because an outage of the broker affects all of them."""


class SharedByLanes(NamedTuple):
    """The parts that all lanes of a worker share.

    ``group``: a consumer of the group of the source offsets, possibly without subscription.
    ``check``: checks the deployment's topics before a lane begins; raises `FatalFailure`.
    ``traces``: makes the spans of sampled commands; None without traces.
    ``metrics``: count the transactions.
    """

    group: Consumer
    claims: WriterClaims
    destinations: LaneDestinations
    check: Callable[[], None]
    metrics: SequencerMetrics
    traces: Traces | None = None


class Lane:
    """Receives chunks of one partition from the event loop; its writer commits them.

    Any failure ends the process, because the state in memory may be ahead of the log. The next
    process starts from the committed state.

    Args:
        settings: The settings of the deployment.
        partition: The source partition.
        shared: The parts that all lanes of the worker share.
        writer: Commits the records.
        feed: Controls the fetching of the records. On hold until the lane has its state.

    Attributes:
        position: The offset of the next record to commit; None until the lane has its state.
    """

    def __init__(
        self, settings: Settings, partition: int, shared: SharedByLanes, writer: Writer, feed: Feed
    ) -> None:
        self._settings = settings
        self._partition = partition
        self._shared = shared
        self._writer = writer
        self._source = SourcePartition(settings, partition, shared.group)
        self.inbox = Inbox(feed, asyncio.get_running_loop().call_soon_threadsafe, writer.arrived)
        feed.hold(True)  # noqa: FBT003 - the only argument
        self.records: LaneRecords
        self.position: Offset | None = None
        self._active_at = time.monotonic()
        self._stopping, self._released = threading.Event(), threading.Event()
        threading.Thread(target=self._run, name=f"lane-{partition}", daemon=True).start()

    def put(self, chunk: Sequence[SourceRecord]) -> None:
        """Adds the next records."""
        self.inbox.put(chunk)

    def stop(self) -> None:
        """Drops the pending, uncommitted records. The running transaction continues."""
        self.inbox.stop()
        self._stopping.set()
        self._writer.wake()

    def join(self, seconds: float) -> None:
        """Waits until the writer has given the partition up, with a timeout."""
        self._released.wait(seconds)

    def before(self, records: Sequence[SourceRecord]) -> None:
        """See `WrittenLane.before`."""
        sequencer, offset = self.records.sequencer, records[0].offset
        gap = sequencer.gap_before(offset)
        if not gap:
            return
        check_begin(self._source.name, self._source.begin(), Offset(gap.start))
        if self._holds_records(gap):
            raise SourceGap(f"records {gap.start} to {gap.stop - 1} were not delivered")
        sequencer.skip_to(offset)

    def committed(self) -> None:
        """See `WrittenLane.committed`."""
        self.position = self.records.sequencer.progress.next_offset
        self._active_at = time.monotonic()

    def released(self) -> None:
        """See `WrittenLane.released`."""
        self._released.set()

    def _run(self) -> None:
        with ends_process(f"partition {self._partition}"):
            self._begin()
            starvation = Starvation(self._end, self._holds_records)
            while not self._stopping.wait(IDLE_CHECK_SECONDS):
                idle = time.monotonic() - self._active_at
                if idle >= IDLE_CHECK_SECONDS and self.inbox.is_empty:
                    self._check(starvation)

    def _begin(self) -> None:
        assigned_at = time.monotonic()
        self._writer.await_begin()
        claim = self._shared.claims.begin(self._partition, self._writer.id)
        self._shared.check()  # before the use of a state and a source that do not belong together
        sequencer = self._restored()
        claim.commit(sequencer)
        destinations = self._shared.destinations.for_lane(self._writer.producer)
        destinations.use_epoch(sequencer.progress.epoch)
        self.records = LaneRecords(
            self._settings, self._partition, sequencer, self._writer.producer, destinations,
            self._shared.traces,
        )  # fmt: skip
        self._shared.metrics.restored(time.monotonic() - assigned_at)
        self.position = sequencer.progress.next_offset
        self._active_at = time.monotonic()
        self._writer.add(self)
        self.inbox.begin(sequencer.progress.next_offset)

    def _check(self, starvation: Starvation) -> None:
        try:
            starvation.check(self.records.sequencer.progress.next_offset)
        except (KafkaException, ServerUnavailable) as error:
            _silence.warning("partition %d: Kafka does not answer: %s", self._partition, error)
        else:
            _silence.end_condition()

    def _restored(self) -> Sequencer:
        """The sequencer with the state from the log, which must match its source.

        Raises:
            FatalFailure: The state does not match the source.
            ServerUnavailable: The broker does not answer.
        """
        conversations, progress = restore(self._settings, self._partition)
        check_start(self._source.read(), None if progress is None else progress.next_offset)
        progress = progress or LaneProgress()
        log.info(
            "partition %d starts at offset %d with %d conversations, %d of them idle in %d bytes",
            self._partition, progress.next_offset, len(conversations),
            conversations.idle_count, conversations.idle_bytes,
        )  # fmt: skip
        place = self._partition, self._settings.partitions
        return Sequencer(self._settings.limits, conversations, progress, *place)

    def _end(self) -> Offset:
        return source_end(self._shared.group, self._settings, self._partition)

    def _holds_records(self, offsets: range) -> bool:
        return holds_records(self._settings, self._partition, offsets)
