"""Faust's Kafka consumer with fair fetching: no partition delays the others.

*Small chunks of each partition.* A fetch is limited in compressed bytes, so it may have a hundred
thousand records. To unpack all of them at once would block the interpreter for most of a second.

*Hold of a partition.* Faust's own `pause_partitions` is for rebalances: records of a paused
partition remain in the fetcher, which then sends no request for a tenth of a second; with every
partition paused it sleeps for a second. So this module pauses the partition in the underlying
client. The client drops the fetched records of a paused partition and fetches them again after the
hold, so no record is lost or out of order. A rebalance ends the hold, because it ends the lane
that requested the hold.

*Records without headers.* The client wraps each record in another object, with fields that are
not read here, which takes as long as all other steps. Here a record is passed as the client
unpacked it.

*Start at the lane's position.* After a rebalance Faust seeks to the committed offsets, but not if
there is no commit, and until then it may take records from the client and discard them. So the
lane sets the start offset when it has its state and Faust's rebalance is complete.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from typing import Any, Final

import faust
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.errors import (
    CorruptRecordException,
    GroupAuthorizationFailedError,
    IllegalStateError,
    KafkaError,
    TopicAuthorizationFailedError,
)
from faust.transport.consumer import RecordMap
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP

from schemas.errors import AccessRefused
from schemas.number_types import Offset
from stream_processors.sequencing.fetched_batches import FetchedBatch, FetchedBatches

log = logging.getLogger("stream_processors.client")

FETCH_WAIT_MS: Final = 100
"""Maximum wait of the broker for a record before an empty response.

There is one request at a time, and a partition after a hold is in the next request. Faust's own
1,500 ms would leave a fast lane without work for this time if the other partitions are silent.
"""


SMALL_DRAIN: Final = 100
"""Fetched records that are few: the next records are collected for `DRAIN_SECONDS`."""

DRAIN_SECONDS: Final = 0.005
"""Pause after few records. Each fetch and each chunk costs the broker and this process the same,
whatever number of records it has."""

_REFUSALS: Final = (GroupAuthorizationFailedError, TopicAuthorizationFailedError)
"""The errors of a client without the rules of its role."""


class CommittedRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    """Fetched, committed records of one partition, without the client's wrapper objects."""

    next_fetch_offset: Offset

    def _unpack_records(self) -> Iterator[Any]:
        """The records of each batch, or a `SkippedOffsets` for a batch without committed records.

        As the client's own method, which skips such a batch silently: then its offsets could not
        be distinguished from lost records.
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
                skipped = batch.skipped_from(self.next_fetch_offset)
                self.next_fetch_offset = batch.next_offset
                yield skipped

    def _counts(self, batch: FetchedBatch) -> bool:
        """Whether a batch has records, and they are committed."""
        self._consume_aborted_up_to(batch.base_offset)
        if batch.is_control_batch:
            if self._contains_abort_marker(batch):
                self._aborted_producers.discard(batch.producer_id)
            return False
        return not (batch.is_transactional and batch.producer_id in self._aborted_producers)


def install_unpacking() -> None:
    """Makes the Kafka client unpack fetched bytes by `FetchedBatches` and `CommittedRecords`.

    The client has no setting for the classes: it uses those in its module. So the change is for
    the whole process. It is made once, when the sequencer's app is created; no other part of the
    process uses this client.
    """
    fetcher.PartitionRecords = CommittedRecords
    fetcher.MemoryRecords = FetchedBatches


class FetchThread(AIOKafkaConsumerThread):
    """The thread that communicates with the broker."""

    _ended: BaseException | None = None
    _next_drain = 0.0

    def _create_worker_consumer(self, transport: Transport) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001 - fixed in Faust's source
        # Without Faust's own transactions, Faust would read uncommitted records.
        consumer._isolation_level = "read_committed"  # noqa: SLF001 - no setting for it
        return consumer

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's own signature
        max_records: int | None = None,
    ) -> RecordMap:
        """Some records of each partition. Faust's own method would first empty one partition."""
        pause = self._next_drain - time.monotonic()
        if pause > 0:
            await asyncio.sleep(pause)
        drained: dict[TP, list[Any]] = {}
        fetch = super()._fetch_records
        for partition in list(active_partitions):
            # Waiting for the new assignment with records of the old one would mix them up.
            if consumer._subscription.reassignment_in_progress:  # noqa: SLF001 - no other way
                return drained
            drained.update(await fetch(consumer, {partition}, 0, max_records))
        found: RecordMap = drained or await fetch(
            consumer, active_partitions, timeout, max_records
        )
        if 0 < sum(map(len, found.values())) < SMALL_DRAIN:
            self._next_drain = time.monotonic() + DRAIN_SECONDS
        return found

    def check(self) -> None:
        """Checks the client's background tasks; `ended` returns the error that this finds.

        Faust takes records directly from the client's fetcher. So it does not use the call that
        reports an ended task and that lets the coordination continue after an error.
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
        if client._coordinator is None:  # noqa: SLF001 - the client still connects
            return
        for task in (client._coordinator._coordination_task, client._fetcher._fetch_task):  # noqa: SLF001
            if task.done() and not task.cancelled():
                self._ended = task.exception() or RuntimeError("it returned")
                return
        try:
            client._coordinator.check_errors()  # noqa: SLF001
        except _REFUSALS as error:  # repeated without end
            self._ended = AccessRefused(
                "Kafka does not permit the sequencer to read its topic in its group"
                f" ({type(error).__name__}): `im acl` has the rules of each role"
            )
        except KafkaError as error:  # the coordination waits until its error is read
            log.warning("the Kafka client continues after %r", error)

    def set_on_hold(self, partition: TopicPartition, on_hold: bool) -> None:  # noqa: FBT001
        """Sets a hold. Takes effect before all later requests to this thread."""
        self.thread_loop.call_soon_threadsafe(self._set_on_hold, partition, on_hold)

    def start_at(self, partition: TopicPartition, offset: Offset) -> None:
        """Fetches from this offset on, drops records that were fetched before, and ends a hold."""
        self.thread_loop.call_soon_threadsafe(self._start_at, partition, offset)

    def _set_on_hold(self, partition: TopicPartition, on_hold: bool) -> None:  # noqa: FBT001
        consumer = self._ensure_consumer()
        # After a rebalance the partition may belong to another worker.
        with contextlib.suppress(IllegalStateError):
            (consumer.pause if on_hold else consumer.resume)(partition)

    def _start_at(self, partition: TopicPartition, offset: Offset) -> None:
        consumer = self._ensure_consumer()
        with contextlib.suppress(IllegalStateError):  # as above
            consumer.seek(partition, offset)
            consumer.resume(partition)


class HoldingConsumer(Consumer):
    """A consumer that can hold partitions."""

    _thread: FetchThread

    def _new_consumer_thread(self) -> FetchThread:
        return FetchThread(self, loop=self.loop, beacon=self.beacon)

    def set_on_hold(self, topic: str, partition: int, on_hold: bool) -> None:  # noqa: FBT001
        """Stops or resumes the fetching of a partition. For the event loop."""
        self._thread.set_on_hold(TopicPartition(topic, partition), on_hold)

    def ended(self) -> BaseException | None:
        """The error of an ended background task of the client, at the time of the last call."""
        self._thread.check()
        return self._thread.ended

    async def start_at(self, topic: str, partition: int, offset: Offset) -> None:
        """Fetches from this offset on, as soon as Faust no longer discards fetched records.

        If the call is late and the partition has another lane by then, it does no harm: the lane
        skips records that it has had.
        """
        await self.can_resume_flow.wait()
        self._thread.start_at(TopicPartition(topic, partition), offset)


class HoldingTransport(Transport):
    """A transport that makes `HoldingConsumer`."""

    Consumer = HoldingConsumer


class HoldingApp(faust.App):
    """A Faust app with a `HoldingConsumer`."""

    def _new_transport(self) -> HoldingTransport:
        return HoldingTransport(self.conf.broker_consumer, self)
