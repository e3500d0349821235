"""A lane: one source partition, its state, and a thread that runs its transactions.

Records that arrive during a transaction's commit are collected for the next transaction. So small
chunks merge under load, and one partition computes while another waits for its broker. An
overloaded lane does not stop the others: only its own partition is put on hold.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaException, Producer

from backends.processes.minute_log import MinuteLog
from schemas.errors import FatalFailure, ServerUnavailable, SourceGap
from schemas.number_types import Offset
from schemas.settings import Settings
from stream_processors.commit.lane_destinations import LaneDestinations
from stream_processors.commit.transaction import (
    TRANSACTION_SECONDS,
    Transaction,
    transactional_config,
)
from stream_processors.commit.turns import Turns
from stream_processors.lanes.inbox import Feed, Inbox
from stream_processors.lanes.source_check import SourcePartition, check_begin, check_start
from stream_processors.lanes.starvation import Starvation
from stream_processors.sequencing.sequencer import Sequencer
from stream_processors.sequencing.source_record import SourceRecord
from stream_processors.state.restore import holds_records, restore, source_end
from stream_processors.state.state_codec import LaneProgress

log = logging.getLogger(__name__)

_silence: Final = MinuteLog(log)
"""Shared by all lanes, because an outage of the broker affects all of them."""

INTERVAL_SECONDS: Final = 0.02
"""Minimum time from the begin of one transaction to the begin of the next.

A transaction costs the broker a marker in each partition that it wrote to, and a reader of
committed records waits for all open transactions. Many small transactions increase the latency: at
1,000 messages/s the slowest hundredth waits a third longer without this interval. The first
transaction after a pause begins at once.
"""

_ending: Final = threading.Lock()
"""Held by the first lane that ends the process, so that no other lane logs its own failure."""


class SharedByLanes(NamedTuple):
    """The parts that all lanes of a worker share.

    ``group``: a consumer of the group of the source offsets, possibly without subscription.
    ``check``: checks the deployment's topics before a lane begins; raises `FatalFailure`.
    """

    group: Consumer
    turns: Turns
    destinations: LaneDestinations
    check: Callable[[], None]


class Lane:
    """Receives chunks of one partition from the event loop, and commits them in its own thread.

    Any failure in the thread ends the process, because its state may be ahead of the log. The next
    process starts from the committed state.

    Args:
        settings: The settings of the deployment.
        partition: The source partition.
        shared: The parts that all lanes of the worker share.
        feed: Controls the fetching of the records. On hold until the lane has its state.

    Attributes:
        committing_since: When the running transaction began, in monotonic seconds, or None.
    """

    def __init__(
        self, settings: Settings, partition: int, shared: SharedByLanes, feed: Feed
    ) -> None:
        self._settings = settings
        self._partition = partition
        self._shared = shared
        self._group = shared.group
        self._source = SourcePartition(settings, partition, shared.group)
        self._inbox = Inbox(feed, asyncio.get_running_loop().call_soon_threadsafe)
        feed.hold(True)  # noqa: FBT003 - the only argument
        self.committing_since: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"lane-{partition}", daemon=True)
        self._thread.start()

    def put(self, chunk: Sequence[SourceRecord]) -> None:
        """Adds the next records."""
        self._inbox.put(chunk)

    def wake(self) -> None:
        """Makes the lane check for a new epoch even without records. Thread-safe."""
        self._inbox.wake()

    def stop(self) -> None:
        """Drops the pending, uncommitted records. The running transaction continues."""
        self._inbox.stop()

    def join(self, seconds: float) -> None:
        """Waits for the end of the running transaction, with a timeout."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            self._sequence()
        except FatalFailure as failure:
            _ending.acquire()
            log.critical("partition %d: %s", self._partition, failure)
            os._exit(failure.exit_code)
        # After any error, the lane would write based on a state that is not in the log.
        except BaseException:
            _ending.acquire()
            log.critical("partition %d cannot continue", self._partition, exc_info=True)
            os._exit(FatalFailure.exit_code)

    def _sequence(self) -> None:
        group = self._settings.group("sequencer")
        config = transactional_config(self._settings, group, self._partition)
        producer = Producer(config)
        producer.init_transactions(TRANSACTION_SECONDS)  # fences the previous owner
        self._shared.check()  # before the use of a state and a source that do not belong together
        sequencer = self._restored()
        destinations = self._shared.destinations.for_lane(producer)
        destinations.use_epoch(sequencer.progress.epoch)
        lane_turns = self._shared.turns.join()
        transaction = Transaction(
            self._settings, self._partition, producer, self._group.consumer_group_metadata,
            lane_turns, destinations,
        )  # fmt: skip
        starvation = Starvation(self._end, self._holds_records)
        self._inbox.begin(sequencer.progress.next_offset)
        begun = -INTERVAL_SECONDS
        while (records := self._inbox.take(begun + INTERVAL_SECONDS)) is not None:
            begun = time.monotonic()
            newest_epoch = self._shared.destinations.newest_epoch()
            if newest_epoch > sequencer.progress.epoch:
                with self._committing():
                    transaction.switch(sequencer, newest_epoch)
            if records:
                self._commit_all(sequencer, transaction, records)
            else:
                self._check_starvation(starvation, sequencer.progress.next_offset)
        lane_turns.leave()

    def _check_starvation(self, starvation: Starvation, next_offset: Offset) -> None:
        try:
            starvation.check(next_offset)
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

    def _commit_all(
        self, sequencer: Sequencer, transaction: Transaction, records: list[SourceRecord]
    ) -> None:
        while records and not self._inbox.is_stopping:
            self._cross_gap(sequencer, records[0].offset)
            with self._committing():
                done = transaction.run(sequencer, records)
            records = records[done:]
            self._inbox.done(done)

    @contextmanager
    def _committing(self) -> Iterator[None]:
        self.committing_since = time.monotonic()
        yield
        self.committing_since = None

    def _cross_gap(self, sequencer: Sequencer, offset: Offset) -> None:
        gap = sequencer.gap_before(offset)
        if not gap:
            return
        check_begin(self._source.name, self._source.begin(), Offset(gap.start))
        if self._holds_records(gap):
            raise SourceGap(f"records {gap.start} to {gap.stop - 1} were not delivered")
        sequencer.skip_to(offset)

    def _end(self) -> Offset:
        return source_end(self._group, self._settings, self._partition)

    def _holds_records(self, offsets: range) -> bool:
        return holds_records(self._settings, self._partition, offsets)
