"""Records that the sequencer's consumer takes from the Kafka client, partition by partition."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.types import TP

from stream_processors.faust_app.fetching import FetchThread, install_unpacking

BUSY, QUIET, SILENT = TP("t", 0), TP("t", 1), TP("t", 2)


class Client:
    """Returns the records of one partition until it is empty, then of the next, as aiokafka does.

    Args:
        monkeypatch: Puts the fake in the place that Faust calls.
        fetched: Records of each partition.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fetched: dict[TP, list[int]]) -> None:
        self.fetched = fetched
        self.waits: list[float] = []
        self.rebalance_after: TP | None = None
        self.subscription = SimpleNamespace(reassignment_in_progress=False)

        async def fetch_records(
            _thread: Any, _consumer: Any, active: set[TP], wait: float, limit: int
        ) -> dict[TP, list[int]]:
            return self._take(active, wait, limit)

        monkeypatch.setattr(AIOKafkaConsumerThread, "_fetch_records", fetch_records)

    def _take(self, active: set[TP], wait: float, limit: int) -> dict[TP, list[int]]:
        self.waits.append(wait)
        for partition in [each for each in self.fetched if each in active]:
            some, rest = self.fetched[partition][:limit], self.fetched[partition][limit:]
            if partition == self.rebalance_after:
                self.subscription.reassignment_in_progress = True
            if rest:
                self.fetched[partition] = rest
            else:
                del self.fetched[partition]
            return {partition: some}
        return {}

    async def asked(self) -> dict[TP, list[int]]:
        """Result of one fetch by Faust, with at most two records of each partition."""
        thread: FetchThread = object.__new__(FetchThread)
        consumer = SimpleNamespace(_subscription=self.subscription)
        partitions = {BUSY, QUIET, SILENT}
        return dict(await thread._fetch_records(consumer, partitions, 1.0, 2))  # noqa: SLF001


async def test_a_fetch_takes_records_of_each_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each partition gives a share of the records, without a wait, while one of them is full."""
    client = Client(monkeypatch, {BUSY: [1, 2, 3, 4, 5], QUIET: [7]})
    assert await client.asked() == {BUSY: [1, 2], QUIET: [7]}
    assert await client.asked() == {BUSY: [3, 4]}
    assert set(client.waits) == {0}


async def test_partitions_do_not_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no records in any partition there is one wait for all of them."""
    client = Client(monkeypatch, {})
    assert await client.asked() == {}
    assert client.waits == [0, 0, 0, 1.0]


async def test_a_rebalance_ends_the_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a rebalance the round ends, so that it returns no records of the old assignment."""
    client = Client(monkeypatch, {BUSY: [1], QUIET: [7], SILENT: [9]})
    client.rebalance_after = next(iter({BUSY, QUIET, SILENT}))
    assert list(await client.asked()) == [client.rebalance_after]


def test_records_have_no_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetched records are not `ConsumerRecord`, but have every field that the sequencer reads."""
    # Restores the module's own class after the test.
    monkeypatch.setattr(fetcher, "PartitionRecords", fetcher.PartitionRecords)
    batch = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=0,
        producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=1_000,
    )  # fmt: skip
    batch.append(0, 5, b"conversation", b"command", [])
    install_unpacking()
    records, check_crcs, isolation = MemoryRecords(bytes(batch.build())), True, 0
    fetched = fetcher.PartitionRecords(
        TopicPartition("t", 0), records, None, 0, None, None, check_crcs, isolation
    )
    (record,) = fetched
    assert not isinstance(record, ConsumerRecord)
    assert (record.offset, record.timestamp) == (0, 5)
    assert (record.key, record.value) == (b"conversation", b"command")


def test_a_client_that_still_connects_is_no_defect() -> None:
    """The check of background tasks accepts a client without tasks: a broker with TLS is slow."""
    thread: FetchThread = object.__new__(FetchThread)
    thread._consumer = SimpleNamespace(_closed=False, _coordinator=None, _fetcher=None)  # noqa: SLF001
    thread._ended = None  # noqa: SLF001

    thread._check()  # noqa: SLF001

    assert thread.ended is None
