"""A writer: a thread that commits the records of several lanes in shared transactions.

A transaction costs the broker requests and markers, whatever number of records it has. So the
lanes of a worker share transactions. Records that arrive during a commit wait for the next
transaction.
"""

from __future__ import annotations

import copy
import logging
import os
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

from confluent_kafka import Producer

from backends.kafka.kafka_security import refusals_named
from schemas.errors import FatalFailure, ServerUnavailable
from schemas.number_types import EpochNumber
from schemas.settings import Settings
from stream_processors.commit.lane_records import LaneRecords
from stream_processors.commit.producer_settings import (
    TRANSACTION_SECONDS,
    new_writer_id,
    transactional_config,
)
from stream_processors.commit.transaction import LaneBatch, Transactions
from stream_processors.commit.turns import Turns
from stream_processors.lanes.inbox import Inbox
from stream_processors.lanes.lane_metrics import CommittedBatch, SequencerMetrics
from stream_processors.lanes.quiet_lanes import QuietLanes
from stream_processors.lanes.transaction_pace import next_begin
from stream_processors.sequencing.source_record import SourceRecord
from stream_processors.state.state_codec import CommandCounts

log = logging.getLogger(__name__)

_ending: Final = threading.Lock()
"""Held by the first thread that ends the process, so that no other thread logs its own failure."""


@contextmanager
def ends_process(name: str) -> Iterator[None]:
    """Ends the process after any error: the state in memory may be ahead of the log.

    Args:
        name: The name of the part that fails, for the log.
    """
    try:
        with refusals_named("the sequencer its transaction"):
            yield
    except FatalFailure as failure:
        _ending.acquire()
        log.critical("%s: %s", name, failure)
        os._exit(failure.exit_code)
    except BaseException:
        _ending.acquire()
        log.critical("%s cannot continue", name, exc_info=True)
        os._exit(FatalFailure.exit_code)


class WrittenLane(Hashable, Protocol):
    """A lane, as its writer uses it."""

    inbox: Inbox
    records: LaneRecords

    def before(self, records: Sequence[SourceRecord]) -> None:
        """Crosses a gap before the first record. Raises `FatalFailure` if records are missing."""

    def committed(self) -> None:
        """Called after each commit with records of the lane."""

    def released(self) -> None:
        """Called when the writer has given the partition up, or without a commit if it cannot."""


class Writer:
    """Commits the records of its lanes in its own thread, which ends the process if it fails.

    Args:
        settings: The settings of the deployment.
        group_metadata: Returns the consumer group of the source offsets.
        turns: The turns of all writers of the worker.
        newest_epoch: Returns the epoch to which lanes switch.
        metrics: Count the transactions.

    Attributes:
        id: The `transactional.id` of the producer, which no other writer has.
        committing_since: When the running transaction began, in monotonic seconds, or None.
    """

    def __init__(
        self,
        settings: Settings,
        group_metadata: Callable[[], object],
        turns: Turns,
        newest_epoch: Callable[[], EpochNumber],
        metrics: SequencerMetrics,
    ) -> None:
        self.id = new_writer_id(settings)
        self.committing_since: float | None = None
        self.producer = Producer(transactional_config(settings, self.id))
        self._turns = turns.join()
        self._transactions = Transactions(
            settings, self.id, self.producer, group_metadata, self._turns
        )
        self._newest_epoch = newest_epoch
        self._metrics = metrics
        self._is_initialised = threading.Event()
        self._changed = threading.Condition()
        self._has_news = False
        self._has_records = False
        self._stopping = False
        self._added: list[WrittenLane] = []
        self._lanes: list[WrittenLane] = []
        self._in_hand: dict[WrittenLane, list[SourceRecord]] = {}
        self._quiet_lanes: QuietLanes[WrittenLane] = QuietLanes()
        threading.Thread(target=self._run, name=self.id, daemon=True).start()

    def await_begin(self) -> None:
        """Waits until the producer is initialised: its id may be in a claim from then on.

        Raises:
            ServerUnavailable: The broker does not answer.
        """
        if not self._is_initialised.wait(2 * TRANSACTION_SECONDS):
            raise ServerUnavailable("the writer's producer is not initialised")

    def add(self, lane: WrittenLane) -> None:
        """Adds a lane whose partition the writer owns."""
        with self._changed:
            self._added.append(lane)
            self._has_news = True
            self._changed.notify()

    def arrived(self) -> None:
        """Notes that a lane has records. Thread-safe."""
        with self._changed:
            self._has_records = True
            self._changed.notify()

    def wake(self) -> None:
        """Makes the writer check for a new epoch and for stopped lanes. Thread-safe."""
        with self._changed:
            self._has_news = True
            self._changed.notify()

    def stop(self) -> None:
        """Ends the thread when the writer has no lanes. Thread-safe."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def _run(self) -> None:
        with ends_process("the writer"):
            self.producer.init_transactions(TRANSACTION_SECONDS)
            self._is_initialised.set()
            not_before = time.monotonic()
            while self._await_work(not_before):
                self._release_stopped()
                self._switch()
                self._take()
                if self._in_hand:
                    begun = time.monotonic()
                    count = self._commit()
                    not_before = next_begin(begun, time.monotonic(), count)
            self._turns.leave()

    def _await_work(self, not_before: float) -> bool:
        """Waits for records or for a change of the lanes; returns False at the end."""
        with self._changed:
            while not (self._has_news or self._in_hand):
                if self._stopping and not self._lanes:
                    return False
                wait = not_before - time.monotonic() if self._has_records else None
                if wait is not None and wait <= 0:
                    break
                self._changed.wait(wait)
            self._has_news = False
            self._lanes += self._added
            self._added = []
        return True

    def _release_stopped(self) -> None:
        stopped = [lane for lane in self._lanes if lane.inbox.is_stopping]
        if not stopped:
            return
        self._lanes = [lane for lane in self._lanes if lane not in stopped]
        for lane in stopped:
            self._in_hand.pop(lane, None)
        with self._committing():
            self._transactions.release([lane.records for lane in stopped])
        for lane in stopped:
            lane.released()

    def _switch(self) -> None:
        epoch = self._newest_epoch()
        behind = [lane.records for lane in self._lanes if lane.records.epoch < epoch]
        if behind:
            with self._committing():
                self._transactions.switch(behind, epoch)

    def _take(self) -> None:
        with self._changed:
            self._has_records = False
        for lane in self._lanes:
            if lane not in self._in_hand and (records := lane.inbox.take()):
                self._in_hand[lane] = records

    def _commit(self) -> int:
        """Commits one transaction; returns the number of its source records."""
        # First the lanes with few records: they leave their part of the limit to the others.
        lanes = sorted(self._in_hand, key=lambda lane: len(self._in_hand[lane]))
        for lane in lanes:
            lane.before(self._in_hand[lane])
        batches = [LaneBatch(lane.records, self._in_hand[lane]) for lane in lanes]
        before = [copy.copy(lane.records.sequencer.counts) for lane in lanes]
        begun = time.monotonic()
        with self._committing():
            done = self._transactions.run(batches, is_short=self._quiet_lanes.any_quiet())
        committed = [
            _committed_batch(batch, count, counts)
            for batch, count, counts in zip(batches, done, before, strict=True)
        ]
        self._metrics.committed(committed, time.monotonic() - begun)
        for lane, count in zip(lanes, done, strict=True):
            self._quiet_lanes.add(lane, count)
            self._finish(lane, count)
        return sum(done)

    def _finish(self, lane: WrittenLane, count: int) -> None:
        left = self._in_hand[lane][count:]
        if left:
            self._in_hand[lane] = left
        else:
            del self._in_hand[lane]
        lane.inbox.done(count)
        if not (left or lane.inbox.is_empty):
            self.arrived()  # records that arrived while the earlier ones were in hand
        lane.committed()

    @contextmanager
    def _committing(self) -> Iterator[None]:
        self.committing_since = time.monotonic()
        yield
        self.committing_since = None


def _committed_batch(batch: LaneBatch, count: int, before: CommandCounts) -> CommittedBatch:
    sequencer = batch.lane.sequencer
    return CommittedBatch(
        batch.records[:count], before, sequencer.counts, sequencer.take_rejections(),
        batch.lane.take_written(),
    )  # fmt: skip
