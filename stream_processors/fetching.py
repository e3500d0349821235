"""Faust's Kafka consumer, made fair: no partition keeps the others waiting.

*A few records of each at a time.* A fetched chunk is limited in bytes, but compressed ones: it may
hold a hundred thousand records, and unpacking them keeps the interpreter for most of a second.

*A partition can be left out of fetching.* Faust's own `pause_partitions` is made for rebalances:
it leaves records of a paused partition with the fetcher, which then asks nobody for a tenth of a
second, and with every partition paused it sleeps for a second. The client below it does what is
wanted. It forgets what it has fetched of a paused partition, and fetches it again from there when
the partition goes on, so nothing is lost or out of order. A rebalance forgets the pause, as it
does the lane that asked for it.

*A record comes as the client unpacked it.* For each the client makes another object with fields
that nobody here reads, which takes it as long as all the rest.

*A partition is fetched from where its lane stands.* Faust seeks to the committed offsets after a
rebalance, but not where nothing was committed, and until then it may have taken records from the
client that it throws away. So the lane says from where, when it has its state and Faust is done.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any, Final

import faust
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException, IllegalStateError, KafkaError
from faust.transport.consumer import RecordMap
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP

from stream_processors.unpacking import FetchedBatch, FetchedBatches

log = logging.getLogger("stream_processors.client")

FETCH_WAIT_MS: Final = 100
"""How long the broker may wait for a record before it answers that there is none.

There is one request at a time, and a partition that goes on is in the next one. Faust's own 1,500
would leave a fast lane without work for as long, where the other partitions are silent.
"""


class BareRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    """Fetched records of one partition, not wrapped once more. Reads committed records."""

    next_fetch_offset: int

    def _unpack_records(self) -> Iterator[Any]:
        """Of each batch its records, or a `Passed` in place of what no reader of committed sees.

        As the client's own, which passes over such a batch without a word: then nobody can tell
        its offsets from records that were lost.
        """
        while (batch := self._records.next_batch()) is not None:
            if self._check_crcs and not batch.validate_crc():
                raise CorruptRecordException(f"Invalid CRC - {self._tp}")
            if self._counts(batch):
                for record in batch:
                    if record.offset >= self.next_fetch_offset:
                        self.next_fetch_offset = record.offset + 1
                        yield record
                self.next_fetch_offset = batch.next_offset
            else:
                passed = batch.passed(self.next_fetch_offset)
                self.next_fetch_offset = batch.next_offset
                yield passed

    def _counts(self, batch: FetchedBatch) -> bool:
        """Whether a batch has records, and they are committed."""
        self._consume_aborted_up_to(batch.base_offset)
        if batch.is_control_batch:
            if self._contains_abort_marker(batch):
                self._aborted_producers.discard(batch.producer_id)
            return False
        return not (batch.is_transactional and batch.producer_id in self._aborted_producers)


def take_records_bare() -> None:
    """Has the Kafka client unpack what it fetches by `FetchedBatches` and `BareRecords`.

    It has no setting for that, nor a consumer a class of its own: it takes what its module names.
    So this is for the whole process, and is done once, where the sequencer's app is made; nobody
    else in there uses this client.
    """
    fetcher.PartitionRecords = BareRecords
    fetcher.MemoryRecords = FetchedBatches


class FetchThread(AIOKafkaConsumerThread):
    """The thread that talks to the broker."""

    _ended: BaseException | None = None

    def _create_worker_consumer(self, transport: Transport) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001 - fixed in Faust's source
        # Faust reads what a producer may still abort, unless Faust's own transactions are in use.
        consumer._isolation_level = "read_committed"  # noqa: SLF001 - no setting for it
        return consumer

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's own signature
        max_records: int | None = None,
    ) -> RecordMap:
        """Some of each partition that has any. Faust's own would first empty one of them."""
        drained: dict[TP, list[Any]] = {}
        fetch = super()._fetch_records
        for partition in list(active_partitions):
            # Waiting for the new assignment with records of the old in hand would mix them up.
            if consumer._subscription.reassignment_in_progress:  # noqa: SLF001 - no other way
                return drained
            drained.update(await fetch(consumer, {partition}, 0, max_records))
        return drained or await fetch(consumer, active_partitions, timeout, max_records)

    def check(self) -> None:
        """Looks after the client's background tasks; raises in `ended` what it finds.

        Faust takes records from the client's fetcher, past the call that would tell about a task
        that has ended, and that lets the coordination go on after an error.
        """
        self.thread_loop.call_soon_threadsafe(self._check)

    @property
    def ended(self) -> BaseException | None:
        """The error of a background task that has ended; None while all of them run."""
        return self._ended

    def _check(self) -> None:
        client = self._consumer
        if client is None or client._closed:  # noqa: SLF001 - no other way
            return
        for task in (client._coordinator._coordination_task, client._fetcher._fetch_task):  # noqa: SLF001
            if task.done() and not task.cancelled():
                self._ended = task.exception() or RuntimeError("it returned")
                return
        try:
            client._coordinator.check_errors()  # noqa: SLF001
        except KafkaError as error:  # the coordination waited for somebody to take it
            log.warning("the Kafka client goes on after %r", error)

    def set_on_hold(self, partition: TopicPartition, on_hold: bool) -> None:  # noqa: FBT001
        """Takes effect before anything that is asked of this thread later."""
        self.thread_loop.call_soon_threadsafe(self._set_on_hold, partition, on_hold)

    def start_at(self, partition: TopicPartition, offset: int) -> None:
        """Fetches from this offset on, whatever was fetched before; ends a hold."""
        self.thread_loop.call_soon_threadsafe(self._start_at, partition, offset)

    def _set_on_hold(self, partition: TopicPartition, on_hold: bool) -> None:  # noqa: FBT001
        consumer = self._ensure_consumer()
        # A rebalance may have been faster; then it is somebody else's partition.
        with contextlib.suppress(IllegalStateError):
            (consumer.pause if on_hold else consumer.resume)(partition)

    def _start_at(self, partition: TopicPartition, offset: int) -> None:
        consumer = self._ensure_consumer()
        with contextlib.suppress(IllegalStateError):  # as above
            consumer.seek(partition, offset)
            consumer.resume(partition)


class HoldingConsumer(Consumer):
    """A consumer that can leave partitions out."""

    _thread: FetchThread

    def _new_consumer_thread(self) -> FetchThread:
        return FetchThread(self, loop=self.loop, beacon=self.beacon)

    def set_on_hold(self, topic: str, partition: int, on_hold: bool) -> None:  # noqa: FBT001
        """Leaves a partition out of fetching, or takes it in again. For the event loop."""
        self._thread.set_on_hold(TopicPartition(topic, partition), on_hold)

    def ended(self) -> BaseException | None:
        """The error of a background task of the client that has ended, as of the last call."""
        self._thread.check()
        return self._thread.ended

    async def start_at(self, topic: str, partition: int, offset: int) -> None:
        """Fetches from this offset on, as soon as what is fetched is no longer thrown away.

        One that comes so late that the partition has another lane again does no harm: the lane
        passes over what it has had.
        """
        await self.can_resume_flow.wait()
        self._thread.start_at(TopicPartition(topic, partition), offset)


class HoldingTransport(Transport):
    """Makes such consumers."""

    Consumer = HoldingConsumer


class HoldingApp(faust.App):
    """A Faust app with such a consumer."""

    def _new_transport(self) -> HoldingTransport:
        return HoldingTransport(self.conf.broker_consumer, self)
