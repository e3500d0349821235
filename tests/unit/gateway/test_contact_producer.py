"""Contacts in Kafka: each one is acknowledged, failed or refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from threading import Event
from typing import Any

import pytest
from confluent_kafka import KafkaError

from gateway.contacts import contact_producer
from gateway.contacts.contact_producer import ContactProducer
from schemas.errors import ServerUnavailable
from schemas.settings import Settings
from schemas.topics import CONTACT, Topic
from tests.support.waiting import until

SETTINGS = Settings()
SECONDS = 30.0
OnDelivery = Callable[[KafkaError | None, Any], None]


class Client:
    """`confluent_kafka.Producer` that acknowledges records in `poll`, unless it is unreachable."""

    made: list[Client]
    away: Event

    def __init__(self, config: dict[str, Any]) -> None:
        assert not config["enable.idempotence"]
        self.waiting: list[OnDelivery] = []
        self.records: list[tuple[str, bytes, bytes]] = []
        self.is_full = False
        Client.made.append(self)

    def produce(self, topic: str, value: bytes, key: bytes, on_delivery: OnDelivery) -> None:
        """See `Producer`."""
        if self.is_full:
            raise BufferError
        self.records.append((topic, value, key))
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
async def producer(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ContactProducer]:
    """A producer that runs."""
    monkeypatch.setattr(contact_producer, "Producer", Client)
    Client.made, Client.away = [], Event()
    made = ContactProducer(SETTINGS)
    made.start()
    yield made
    await made.stop()


async def test_the_record_of_a_contact_is_an_empty_object_keyed_by_person(
    producer: ContactProducer,
) -> None:
    """A contact is an empty object with the person's key; the acknowledgement ends its future."""
    async with asyncio.timeout(SECONDS):
        await producer.append("ann")
    assert Client.made[0].records == [(SETTINGS.topic(Topic.CONTACTS), CONTACT, b"ann")]


async def test_a_full_queue_is_an_error_at_once(producer: ContactProducer) -> None:
    """The queue has a bound, and a contact beyond the bound fails at once."""
    Client.made[0].is_full = True
    with pytest.raises(ServerUnavailable):
        producer.append("ann")


async def test_a_new_client_continues_after_a_failure(producer: ContactProducer) -> None:
    """A client that lost all brokers may never reconnect, so a new client replaces it."""
    Client.away.set()
    async with asyncio.timeout(SECONDS):
        with pytest.raises(ServerUnavailable):
            await producer.append("ann")
    Client.away.clear()

    async def is_replaced() -> bool:
        return len(Client.made) > 1

    await until(is_replaced, SECONDS)
    async with asyncio.timeout(SECONDS):
        await producer.append("bob")
    assert [key for client in Client.made for _, _, key in client.records] == [b"ann", b"bob"]


async def test_each_contact_is_answered_at_shutdown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The stop fails each contact that the broker has not acknowledged."""
    monkeypatch.setattr(contact_producer, "Producer", Client)
    Client.made, Client.away = [], Event()
    monkeypatch.setattr(Client, "poll", lambda _client, _seconds: Event().wait(0.001))
    producer = ContactProducer(SETTINGS)
    producer.start()
    appending = producer.append("ann")
    await producer.stop()
    async with asyncio.timeout(SECONDS):
        with pytest.raises(ServerUnavailable):
            await appending
