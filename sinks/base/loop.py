"""The consume loop of all sinks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from threading import Event
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, Message, TopicPartition

from backends.processes.watchdog import Vitals
from schemas.errors import FatalFailure
from schemas.number_types import Offset
from sinks.base.background import Task, ThreadTask
from sinks.base.batch_pace import BatchPace
from sinks.base.commits import Commits, LastCommits
from sinks.base.consumer import SourceConsumer, names_of, raise_if_fatal
from sinks.base.counts import NO_COUNTS, CountsOf
from sinks.base.partitions import OwnedPartitions, PartitionListener
from sinks.base.progress import SinkProgress
from sinks.base.records import Batch, Bounds, Buffer, Record
from sinks.base.source import SinkSource

IDLE_POLL_SECONDS: Final = 0.1
"""Poll timeout without other work. It delays the end of the loop by the same time."""

BUSY_POLL_SECONDS: Final = 0.005
"""Poll timeout while a batch is written or waits."""

STALL_SECONDS: Final = 1.0
"""Time for which a full buffer waits for the writer before the loop pauses the partitions. A pause
discards the records that the library has prefetched, so a short pause costs more than it saves."""

COMMIT_SECONDS: Final = 0.1
"""Minimum interval of commits; many small batches share a commit."""

COMMIT_RETRY_SECONDS: Final = 1.0
"""Wait after a failed commit before the next one."""

SOURCE_SECONDS: Final = 1.0
"""Interval at which the loop checks for changed topics."""

REVOKE_SECONDS: Final = 10.0
"""Maximum wait of a rebalance for the batch in flight."""

STOP_SECONDS: Final = 10.0
"""Maximum wait of a regular end for the batch in flight."""

_logger = logging.getLogger(__name__)

Deliver = Callable[[Sequence[Record], Event], CountsOf]
"""Makes records durable; see `sinks.base.delivery.BatchDelivery.deliver`."""


class _Flight(NamedTuple):
    """The batch in flight."""

    batch: Batch
    task: Task[CountsOf]


class SinkLoop:
    """Reads a source, makes the records durable, and commits, always in these steps.

    1. Read records into a bounded buffer, while step 2 of the previous batch is running.
    2. ``deliver`` makes one batch at a time durable, in a thread; small batches wait for their
       `BatchPace`.
    3. After that, the offsets after the batch count as durable. Because batches are sequential,
       all earlier records are durable as well.
    4. Commit the durable offsets, with a note on the delay. The response arrives later.

    While the buffer is full, the partitions are paused and the client is still polled, so that the
    group does not remove this member during a long outage of the store.

    At a revocation of partitions, the batch in flight may finish within a bound. Durable offsets
    are committed and all other records are dropped: the next owner reads them again.

    The callbacks of a rebalance raise no errors and send no request without a timeout. After an
    assignment, `run` requests the last commits of the new partitions, and commits no offset of a
    partition before it has the response.

    Args:
        consumer: A consumer without subscription.
        commits: The commits of the consumer, whose ``on_commit`` is `Commits.answered`.
        source: The topics to read.
        deliver: Step 2.
        bounds: The bounds of a batch.
        listener: Hears of the partitions.
        vitals: Receives the progress of the loop, for a watchdog.
        start: Starts a delivery in parallel with the loop.
        now: The time in seconds since 1970.
        monotonic: A clock for waits.
    """

    def __init__(  # noqa: PLR0913 - the parts of the loop
        self,
        consumer: SourceConsumer,
        commits: Commits,
        source: SinkSource,
        deliver: Deliver,
        bounds: Bounds,
        *,
        listener: PartitionListener | None = None,
        vitals: Vitals | None = None,
        start: Callable[[Callable[[], CountsOf]], Task[CountsOf]] = ThreadTask,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._consumer = consumer
        self._source = source
        self._topics: list[str] = []
        self._next_source_check = 0.0
        self._owned = OwnedPartitions()
        self._deliver = deliver
        self._buffer = Buffer(bounds)
        self._pace = BatchPace(monotonic)
        self._listener = listener or PartitionListener()
        self._start = start
        self._progress = SinkProgress(now)
        self._flight: _Flight | None = None
        self._abandon = Event()
        self._paused = self._has_moved = self.has_joined = False
        self._revoked_now: set[int] = set()
        self._monotonic = monotonic
        self._commits = commits
        self._vitals = vitals or Vitals()
        self._next_commit = 0.0
        self._last_commits = LastCommits(consumer, monotonic)

    def run(self, stop: Event) -> None:
        """Runs until ``stop`` is set, then finishes the batch in flight and commits.

        Raises:
            FatalFailure: The process cannot continue. Durable offsets are committed.
        """
        try:
            while not stop.is_set():
                self._subscribe_now_and_then()
                self._read()
                self._last_commits.learn(self._progress)
                self._settle()
                self._hand_over()
                self._commit_now_and_then()
                self._beat()
            if self._flight:
                self._flight.task.wait(STOP_SECONDS)
            self._settle()
            self._commit()
        finally:
            self._abandon.set()
            self._flight = None
            self._consumer.close()

    def topics(self) -> list[str]:
        """The topics of the present subscription. Thread-safe."""
        return self._topics

    def durable_places(self) -> list[TopicPartition]:
        """The durable offset of each partition for which it is known. Thread-safe."""
        return self._progress.durable_places()

    def _beat(self) -> None:
        self._vitals.beat(len(self._owned), has_moved=self._has_moved or self._flight is not None)
        self._has_moved = False

    def _subscribe_now_and_then(self) -> None:
        now = self._monotonic()
        if now < self._next_source_check:
            return
        self._next_source_check = now + SOURCE_SECONDS
        topics = self._source.topics()
        if topics != self._topics:
            self._topics = topics
            self._consumer.subscribe(
                topics,
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )

    def _read(self) -> None:
        """Step 1. Serves rebalances, except during a wait of `STALL_SECONDS`."""
        if self._buffer.room:
            self._resume()
            is_busy = self._flight or self._buffer
            self._accept(self._gulp(BUSY_POLL_SECONDS if is_busy else IDLE_POLL_SECONDS))
        elif self._paused:
            self._accept(self._polled(IDLE_POLL_SECONDS))
        elif self._flight and not self._flight.task.wait(STALL_SECONDS):
            self._consumer.pause(self._consumer.assignment())
            self._paused = True

    def _resume(self) -> None:
        if self._paused:
            self._consumer.resume(self._consumer.assignment())
            self._paused = False

    def _gulp(self, wait: float) -> list[Message]:
        """Waits only for the first message, so that a single message is not delayed."""
        first = self._polled(wait)
        # `poll` returns messages that were fetched after the rebalances that it served.
        self._revoked_now.clear()
        more = self._buffer.room - len(first)
        return first + self._consumer.consume(more, 0) if first and more else first

    def _polled(self, wait: float) -> list[Message]:
        message = self._consumer.poll(wait)
        return [] if message is None else [message]

    def _accept(self, messages: Iterable[Message]) -> None:
        """Adds messages to the buffer, except those of partitions revoked during the read."""
        for message in messages:
            self._has_moved = True
            partition = self._owned.number(message.topic(), message.partition())
            offset, error = message.offset(), message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                raise_if_fatal(error)
            elif partition is None or offset is None:
                continue
            elif partition in self._revoked_now:
                raise FatalFailure(f"partition {partition} was assigned during its revocation")
            elif error is not None:
                self._buffer.reached(partition, Offset(offset))
            else:
                record = Record(partition, Offset(offset), message.key(), message.value())
                self._buffer.add(record)
        self._revoked_now.clear()

    def _settle(self) -> None:
        """Step 3. Raises the error of a failed delivery."""
        if self._flight and self._flight.task.wait(0):
            flight, self._flight = self._flight, None
            self._progress.durable(flight.batch, flight.task.result())

    def _hand_over(self) -> None:
        """Step 2, or step 3 at once for a batch without records."""
        buffer = self._buffer
        if self._flight or not buffer or not self._pace.may_begin(buffer.count, buffer.room):
            return
        batch = buffer.take()
        if batch.records:
            deliver, abandon = self._deliver, self._abandon
            self._flight = _Flight(batch, self._start(lambda: deliver(batch.records, abandon)))
        else:
            self._progress.durable(batch, NO_COUNTS)

    def _commit_now_and_then(self) -> None:
        now = self._monotonic()
        if now >= self._next_commit:
            self._next_commit = now + COMMIT_SECONDS
            self._settle_commits()
            if not self._commits.is_running:
                self._commit()

    def _commit(self) -> None:
        """Step 4."""
        offsets = self._progress.uncommitted()
        if offsets:
            self._commits.begin(self._consumer, offsets)

    def _settle_commits(self) -> None:
        committed, has_failed = self._commits.settled()
        self._progress.committed(committed)
        self._listener.committed(self._progress.committed_offsets())
        if has_failed:
            self._next_commit = self._monotonic() + COMMIT_RETRY_SECONDS

    def _on_assign(self, _consumer: object, partitions: list[TopicPartition]) -> None:
        self.has_joined = True
        for place in partitions:
            number = self._source.number(place)
            self._owned.add(place, number)
            self._progress.assign(number, place)
        self._listener.assigned(self._owned.numbers(partitions))
        self._paused = False  # new partitions are not; without room, the loop pauses all
        _logger.info("assigned %s", names_of(partitions))

    def _on_revoke(self, _consumer: object, partitions: list[TopicPartition]) -> None:
        flight = self._flight
        if flight and flight.task.wait(REVOKE_SECONDS) and flight.task.succeeded():
            self._settle()  # `run` raises the error of a failed delivery later
        self._listener.revoked(self._owned.numbers(partitions))
        self._commit()  # the client library finishes the commit before the revocation
        self._give_up(partitions)

    def _on_lost(self, _consumer: object, partitions: list[TopicPartition]) -> None:
        # Other members own them already: a commit would be refused, or move their offsets back.
        self._listener.lost(self._owned.numbers(partitions))
        self._give_up(partitions)

    def _give_up(self, partitions: list[TopicPartition]) -> None:
        numbers = self._owned.remove(partitions)
        self._buffer.drop(numbers)
        if self._flight:
            self._flight.batch.forget(numbers)
        self._progress.revoke(numbers)
        self._revoked_now.update(numbers)
        _logger.info("released %s", names_of(partitions))
