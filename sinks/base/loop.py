"""The one consume loop of all sinks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from threading import Event
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, Message, TopicPartition

from backends.watchdog import Vitals
from schemas.errors import FatalFailure
from sinks.base.background import Task, ThreadTask
from sinks.base.commits import Commits, LastCommits
from sinks.base.consumer import SourceConsumer, names_of, raise_if_fatal
from sinks.base.counts import NO_COUNTS, CountsOf
from sinks.base.progress import Progress
from sinks.base.records import Batch, Bounds, Buffer, Record
from sinks.base.source import Source

IDLE_POLL_SECONDS: Final = 0.1
"""How long to wait for a record when there is nothing else to do; also delays the end by that."""

BUSY_POLL_SECONDS: Final = 0.005
"""The same while a batch is being written: its end must be seen soon."""

STALL_SECONDS: Final = 1.0
"""A full buffer waits so long for the writer before it pauses the partitions. A pause throws away
what the library has fetched ahead, so a short one costs more than it gives."""

COMMIT_SECONDS: Final = 0.1
"""At most one commit in this time; many small batches share one."""

COMMIT_AGAIN_SECONDS: Final = 1.0
"""How long a commit waits after one that failed."""

SOURCE_SECONDS: Final = 1.0
"""How often the loop asks whether there are other topics to read now."""

REVOKE_SECONDS: Final = 10.0
"""How long a rebalance waits for the batch that is being written."""

STOP_SECONDS: Final = 10.0
"""How long an orderly end waits for it."""

_logger = logging.getLogger(__name__)

Deliver = Callable[[Sequence[Record], Event], CountsOf]
"""Makes records durable; see `sinks.base.delivery.Delivery.deliver`."""


class _Flight(NamedTuple):
    """The batch that is being written."""

    batch: Batch
    task: Task[CountsOf]


class SinkLoop:
    """Reads its source, has it made durable, and commits, in these steps and no other order.

    1. Records are read into a bounded buffer, while step 2 of the batch before is going on.
    2. One batch at a time is made durable by ``deliver``, in a thread.
    3. When it is, the offsets after it count as durable. As batches follow one another, all
       records below them are, too.
    4. Durable offsets are committed, with a note on how late that is; the answer comes later.

    While the buffer is full, the partitions are paused and the client is polled on, so that the
    group does not take this member for dead, however long the store is away.

    When partitions are revoked, the batch in flight may finish within a bound; what is durable is
    committed and the rest dropped: the next owner reads it again.

    The callbacks of a rebalance raise nothing and ask the broker nothing without a bound. When
    partitions are assigned, the loop asks for their last commits afterwards, in `run`, and commits
    nothing of a partition before it has the answer.

    Args:
        consumer: Not yet subscribed.
        commits: Its ``on_commit`` is `Commits.answered`.
        source: What to read.
        deliver: Step 2.
        bounds: Of a batch.
        assigned: Called when partitions were assigned; waits for nothing.
        vitals: Gets what the loop says about itself, for a watchdog.
        start: Runs a delivery beside the loop.
        now: The time in seconds since 1970.
        monotonic: A clock for waits.
    """

    def __init__(  # noqa: PLR0913 - it brings all of these together
        self,
        consumer: SourceConsumer,
        commits: Commits,
        source: Source,
        deliver: Deliver,
        bounds: Bounds,
        *,
        assigned: Callable[[], None] = lambda: None,
        vitals: Vitals | None = None,
        start: Callable[[Callable[[], CountsOf]], Task[CountsOf]] = ThreadTask,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._consumer = consumer
        self._source = source
        self._topics: list[str] = []
        self._next_look = 0.0
        self._owned: dict[tuple[str | None, int | None], int] = {}
        """By topic and partition, the number of what is assigned."""
        self._deliver = deliver
        self._buffer = Buffer(bounds)
        self._assigned = assigned
        self._start = start
        self._progress = Progress(now)
        self._flight: _Flight | None = None
        self._abandon = Event()
        self._paused = False
        self._revoked_now: set[int] = set()
        self._monotonic = monotonic
        self._commits = commits
        self._vitals = vitals or Vitals()
        self._has_moved = False
        self._next_commit = 0.0
        self._last_commits = LastCommits(consumer, monotonic)

    def run(self, stop: Event) -> None:
        """Runs until ``stop`` is set, then finishes in order.

        Raises:
            FatalFailure: The process cannot go on. What is durable is committed.
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
        """What the loop subscribes to now. From any thread."""
        return self._topics

    def durable_places(self) -> list[TopicPartition]:
        """Up to where each partition is durable, where that is known. From any thread."""
        return self._progress.durable_places()

    def _beat(self) -> None:
        self._vitals.beat(len(self._owned), has_moved=self._has_moved or self._flight is not None)
        self._has_moved = False

    def _subscribe_now_and_then(self) -> None:
        now = self._monotonic()
        if now < self._next_look:
            return
        self._next_look = now + SOURCE_SECONDS
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
        """Step 1. Serves rebalances in every case but a wait of `STALL_SECONDS`."""
        if self._buffer.room:
            self._resume()
            self._accept(self._gulp(BUSY_POLL_SECONDS if self._flight else IDLE_POLL_SECONDS))
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
        """Waits for the first message only; so a lone one is not kept waiting for company."""
        first = self._polled(wait)
        # What `poll` returns was fetched after the rebalances that it served.
        self._revoked_now.clear()
        more = self._buffer.room - len(first)
        return first + self._consumer.consume(more, 0) if first and more else first

    def _polled(self, wait: float) -> list[Message]:
        message = self._consumer.poll(wait)
        return [] if message is None else [message]

    def _accept(self, messages: Iterable[Message]) -> None:
        """Takes over what was read, apart from what was revoked while it was being read."""
        owned = self._owned
        for message in messages:
            self._has_moved = True
            partition = owned.get((message.topic(), message.partition()))
            offset, error = message.offset(), message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                raise_if_fatal(error)
            elif partition is None or offset is None:
                continue
            elif partition in self._revoked_now:
                raise FatalFailure(f"partition {partition} came back while it was being given up")
            elif error is not None:
                self._buffer.reached(partition, offset)
            else:
                self._buffer.add(Record(partition, offset, message.key(), message.value()))
        self._revoked_now.clear()

    def _settle(self) -> None:
        """Step 3. Raises what ended the writing, if it was not its success."""
        if self._flight and self._flight.task.wait(0):
            flight, self._flight = self._flight, None
            self._progress.durable(flight.batch, flight.task.result())

    def _hand_over(self) -> None:
        """Step 2, or step 3 at once where there is nothing to write."""
        if self._flight or not self._buffer:
            return
        batch = self._buffer.take()
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
        done, has_failed = self._commits.settled()
        self._progress.committed(done)
        if has_failed:
            self._next_commit = self._monotonic() + COMMIT_AGAIN_SECONDS

    def _on_assign(self, _consumer: object, partitions: list[TopicPartition]) -> None:
        self._assigned()
        for place in partitions:
            number = self._source.number(place)
            self._owned[place.topic, place.partition] = number
            self._progress.assign(number, place)
        self._paused = False  # what is new is not paused; if there is no room, all will be again
        _logger.info("assigned %s", names_of(partitions))

    def _on_revoke(self, _consumer: object, partitions: list[TopicPartition]) -> None:
        flight = self._flight
        if flight and flight.task.wait(REVOKE_SECONDS) and flight.task.succeeded():
            self._settle()  # and what failed is raised where the loop settles it
        self._commit()  # the client library finishes it before it gives the partitions back
        self._give_up(partitions)

    def _on_lost(self, _consumer: object, partitions: list[TopicPartition]) -> None:
        # Somebody else has them already: a commit would be refused, or move their offsets back.
        self._give_up(partitions)

    def _give_up(self, partitions: list[TopicPartition]) -> None:
        places = [(place.topic, place.partition) for place in partitions]
        numbers = {self._owned.pop(place) for place in places if place in self._owned}
        self._buffer.drop(numbers)
        if self._flight:
            self._flight.batch.forget(numbers)
        self._progress.revoke(numbers)
        self._revoked_now.update(numbers)
        _logger.info("gave up %s", names_of(partitions))
