"""Records of people in Kafka: each one is acknowledged, failed or refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from threading import Event
from typing import Any

import pytest
from confluent_kafka import KafkaError

from backends.kafka.clients import partition_of
from backends.kafka.user_records import contact_record, live_record, push_device_record
from gateway.contacts import record_producer
from gateway.contacts.record_producer import ContactProducer, RecordProducer
from schemas.errors import ServerUnavailable
from schemas.settings import Settings
from schemas.topics import CONTACT, Topic
from tests.support.waiting import until

SETTINGS = Settings()
SECONDS = 30.0
ANN, BOB = (contact_record(SETTINGS, user) for user in ("ann", "bob"))
OnDelivery = Callable[[KafkaError | None, Any], None]


class Client:
    """`confluent_kafka.Producer` that acknowledges records in `poll`, unless it is unreachable."""

    made: list[Client]
    away: Event

    def __init__(self, config: dict[str, Any]) -> None:
        assert not config["enable.idempotence"]
        assert config["max.in.flight.requests.per.connection"] == 1
        self.waiting: list[OnDelivery] = []
        self.records: list[tuple[str, bytes | None, bytes, int]] = []
        self.is_full = False
        Client.made.append(self)

    def produce(
        self, topic: str, value: bytes, key: bytes, partition: int, on_delivery: OnDelivery
    ) -> None:
        """See `Producer`."""
        if self.is_full:
            raise BufferError
        self.records.append((topic, value, key, partition))
        self.waiting.append(on_delivery)

    def poll(self, _seconds: float) -> None:
        """See `Producer`. An unreachable client fails its records, as after its timeout."""
        Event().wait(0.001)
        error = KafkaError(KafkaError._MSG_TIMED_OUT) if Client.away.is_set() else None  # noqa: SLF001 - its public name
        self._answer(error)

    def purge(self) -> None:
        """See `Producer`."""
        self._answer(KafkaError(KafkaError._PURGE_QUEUE))  # noqa: SLF001 - its public name

    def flush(self, _seconds: float) -> None:
        """See `Producer`."""

    def _answer(self, error: KafkaError | None) -> None:
        waiting, self.waiting = self.waiting, []
        for on_delivery in waiting:
            on_delivery(error, None)


@pytest.fixture
async def producer(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RecordProducer]:
    """A producer that runs."""
    monkeypatch.setattr(record_producer, "Producer", Client)
    Client.made, Client.away = [], Event()
    made = RecordProducer(SETTINGS)
    made.start()
    yield made
    await made.stop()


async def test_the_record_of_a_contact_is_an_empty_object_keyed_by_person(
    producer: RecordProducer,
) -> None:
    """A contact is an empty object with the person's key; the acknowledgement ends its future."""
    async with asyncio.timeout(SECONDS):
        await ContactProducer(SETTINGS, producer).append("ann")
    place = partition_of("ann", SETTINGS.partitions)
    assert Client.made[0].records == [(SETTINGS.topic(Topic.CONTACTS), CONTACT, b"ann", place)]


def test_all_records_of_a_person_have_one_partition() -> None:
    """The partition is that of the person, so a person's records have one order."""
    place = partition_of("ann", SETTINGS.partitions)
    records = [
        live_record(SETTINGS, "ann", gateway, is_live=gateway == "g1") for gateway in ("g1", "g2")
    ]
    records += [push_device_record(SETTINGS, "ann", device, None) for device in ("d1", "d2")]
    assert {each.partition for each in records} == {place}
    assert [each.key for each in records] == [b"ann\ng1", b"ann\ng2", b"ann\nd1", b"ann\nd2"]
    assert [each.value is None for each in records] == [False, True, True, True]


async def test_a_full_queue_is_an_error_at_once(producer: RecordProducer) -> None:
    """The queue has a bound, and a contact beyond the bound fails at once."""
    Client.made[0].is_full = True
    with pytest.raises(ServerUnavailable):
        producer.append(ANN)


async def test_a_new_client_continues_after_a_failure(producer: RecordProducer) -> None:
    """A client that lost all brokers may never reconnect, so a new client replaces it."""
    Client.away.set()
    async with asyncio.timeout(SECONDS):
        with pytest.raises(ServerUnavailable):
            await producer.append(ANN)
    Client.away.clear()

    async def is_replaced() -> bool:
        return len(Client.made) > 1

    await until(is_replaced, SECONDS)
    async with asyncio.timeout(SECONDS):
        await producer.append(BOB)
    assert [key for client in Client.made for _, _, key, _ in client.records] == [b"ann", b"bob"]


async def test_each_contact_is_answered_at_shutdown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The stop fails each contact that the broker has not acknowledged."""
    monkeypatch.setattr(record_producer, "Producer", Client)
    Client.made, Client.away = [], Event()
    monkeypatch.setattr(Client, "poll", lambda _client, _seconds: Event().wait(0.001))
    producer = RecordProducer(SETTINGS)
    producer.start()
    appending = producer.append(ANN)
    await producer.stop()
    async with asyncio.timeout(SECONDS):
        with pytest.raises(ServerUnavailable):
            await appending
