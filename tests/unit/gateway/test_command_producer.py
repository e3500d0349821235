"""Commands in Kafka: each one is acknowledged, given up or refused, and the order is preserved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from threading import Event
from typing import Any, Final

import pytest
from confluent_kafka import (
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_LOG_APPEND_TIME,
    KafkaError,
    KafkaException,
)

from backends.kafka.clients import partition_of
from backends.processes.request_context import current_request_id, current_trace_parent
from gateway.writes import command_producer
from gateway.writes.command_producer import CommandProducer, NotAcknowledged
from schemas.errors import ServerUnavailable
from schemas.settings import Settings
from schemas.topics import Topic
from tests.support.waiting import until

SETTINGS: Final = Settings()
SECONDS: Final = 30.0
OnDelivery = Callable[[KafkaError | None, Any], None]


class Delivered:
    """An acknowledged message."""

    def __init__(self, kind: int, at: int) -> None:
        self._timestamp = (kind, at)

    def timestamp(self) -> tuple[int, int]:
        """See `Message`."""
        return self._timestamp


class Client:
    """`confluent_kafka.Producer` that acknowledges records in `poll`, unless it is silent."""

    made: list[Client]
    silent: Event
    failing: Event
    losing: Event
    away: Event
    refusing: Exception | None
    clock_kind: int

    def __init__(self, config: dict[str, Any]) -> None:
        assert config["enable.idempotence"]
        assert config["acks"] == "all"
        self._tell = config["error_cb"]
        self.waiting: list[OnDelivery] = []
        self.records: list[tuple[str, bytes, bytes, int]] = []
        self.headers: list[list[tuple[str, bytes]]] = []
        Client.made.append(self)

    def produce(  # noqa: PLR0913, PLR0917 - the client's own signature
        self,
        topic: str,
        value: bytes,
        key: bytes,
        partition: int,
        on_delivery: OnDelivery,
        headers: list[tuple[str, bytes]],
    ) -> None:
        """See `Producer`."""
        self.headers.append(headers)
        if Client.refusing is not None:
            raise Client.refusing
        self.records.append((topic, value, key, partition))
        self.waiting.append(on_delivery)

    def poll(self, _seconds: float) -> None:
        """See `Producer`. A failing client fails the first record."""
        Event().wait(0.001)
        if Client.losing.is_set():
            Client.losing.clear()
            self._tell(KafkaError(KafkaError._ALL_BROKERS_DOWN))  # noqa: SLF001 - its public name
        if Client.failing.is_set() and self.waiting:
            Client.failing.clear()
            self.waiting.pop(0)(KafkaError(KafkaError._MSG_TIMED_OUT), None)  # noqa: SLF001 - its public name
        elif not Client.silent.is_set():
            self._answer(None)

    def list_topics(self, _topic: str, _seconds: float) -> None:
        """See `Producer`. Fails while the broker is away."""
        Event().wait(0.001)
        if Client.away.is_set():
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))  # noqa: SLF001 - its public name

    def purge(self) -> None:
        """See `Producer`."""
        self._answer(KafkaError(KafkaError._PURGE_INFLIGHT))  # noqa: SLF001 - its public name

    def flush(self, _seconds: float) -> None:
        """See `Producer`."""

    def _answer(self, error: KafkaError | None) -> None:
        waiting, self.waiting = self.waiting, []
        for on_delivery in waiting:
            on_delivery(error, Delivered(Client.clock_kind, 1_764_000_000_000))


class Clock:
    """A time that a test sets, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock at 0."""
    return Clock()


@pytest.fixture
async def producer(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> AsyncIterator[CommandProducer]:
    """A producer that runs."""
    monkeypatch.setattr(command_producer, "Producer", Client)
    Client.made, Client.silent, Client.failing, Client.refusing = [], Event(), Event(), None
    Client.losing, Client.away = Event(), Event()
    Client.clock_kind = TIMESTAMP_LOG_APPEND_TIME
    made = CommandProducer(SETTINGS, lambda: True, clock)
    made.start()
    yield made
    await made.stop()


async def test_a_command_goes_to_the_partition_of_its_conversation(
    producer: CommandProducer,
) -> None:
    """The acknowledgement ends the future with the broker's time."""
    async with asyncio.timeout(SECONDS):
        assert await producer.append("项目", b"value") == 1_764_000_000_000
    topic, partition = SETTINGS.topic(Topic.MESSAGES), partition_of("项目", SETTINGS.partitions)
    assert Client.made[0].records == [(topic, b"value", "项目".encode(), partition)]
    assert Client.made[0].headers == [[]]


async def test_a_command_has_the_ids_of_its_request(producer: CommandProducer) -> None:
    """The id of the request and the span of the present task are headers of the command."""
    parent = f"00-{'a' * 32}-{'b' * 16}-01"

    async def send(request_id: str, trace_parent: str | None) -> None:
        current_request_id.set(request_id)
        current_trace_parent.set(trace_parent)
        await producer.append("c", b"value")

    async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
        group.create_task(send("request-1", None))
        group.create_task(send("request-2", parent))
    assert Client.made[0].headers == [
        [("request-id", b"request-1")],
        [("request-id", b"request-2"), ("traceparent", parent.encode())],
    ]


async def test_a_time_that_is_not_the_brokers_is_not_known(producer: CommandProducer) -> None:
    """After some retries the client reports only its own time, which identifies no copy."""
    Client.clock_kind = TIMESTAMP_CREATE_TIME
    async with asyncio.timeout(SECONDS):
        assert await producer.append("c", b"value") is None


async def test_a_failed_command_ends_all_that_wait_before_another_one_is_sent(
    producer: CommandProducer,
) -> None:
    """No command overtakes an earlier one that failed, and a new client sends the next one."""
    Client.silent.set()
    first, second = producer.append("c", b"1"), producer.append("c", b"2")
    Client.failing.set()
    async with asyncio.timeout(SECONDS):
        for sending in (first, second):
            with pytest.raises(NotAcknowledged):
                await sending

    async def is_replaced() -> bool:
        return len(Client.made) == 2

    await until(is_replaced, SECONDS)
    Client.silent.clear()
    async with asyncio.timeout(SECONDS):
        await producer.append("c", b"3")
    assert [len(client.records) for client in Client.made] == [2, 1]


async def test_while_the_oldest_command_waits_too_long_no_further_one_is_sent(
    producer: CommandProducer, clock: Clock
) -> None:
    """A refused command is in no queue; after the acknowledgement commands are sent again."""
    Client.silent.set()
    waiting = producer.append("c", b"1")
    clock.now = command_producer.UNDELIVERED_SECONDS + 0.1
    with pytest.raises(ServerUnavailable):
        producer.append("c", b"2")
    Client.silent.clear()
    async with asyncio.timeout(SECONDS):
        await waiting
        await producer.append("c", b"3")
    assert [value for _, value, _, _ in Client.made[0].records] == [b"1", b"3"]


@pytest.mark.parametrize(
    "error",
    [BufferError(), KafkaException(KafkaError(KafkaError._FATAL))],  # noqa: SLF001 - its public name
)
async def test_a_command_that_the_client_refuses_was_not_sent(
    producer: CommandProducer, error: Exception
) -> None:
    """A full queue and a failed client are 503; a failed client is replaced."""
    Client.refusing = error
    with pytest.raises(ServerUnavailable):
        producer.append("c", b"1")
    Client.refusing = None

    async def is_usable() -> bool:
        try:
            await producer.append("c", b"2")
        except ServerUnavailable:
            return False
        return True

    await until(is_usable, SECONDS)
    assert len(Client.made) == (1 if isinstance(error, BufferError) else 2)


async def test_a_broker_that_is_known_to_be_away_gets_no_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The gateway refuses a command without a producer call."""
    monkeypatch.setattr(command_producer, "Producer", Client)
    Client.made = []
    with pytest.raises(ServerUnavailable):
        CommandProducer(SETTINGS, lambda: False).append("c", b"1")
    assert Client.made[0].records == []


async def test_without_any_broker_commands_are_refused_at_once(producer: CommandProducer) -> None:
    """A client that has lost all brokers gets no command until a broker answers again."""

    async def is_refused() -> bool:
        try:
            await producer.append("c", b"value")
        except ServerUnavailable:
            return True
        return False

    Client.away.set()
    Client.losing.set()
    await until(is_refused, SECONDS)
    before = len(Client.made[0].records)
    assert await is_refused()
    assert len(Client.made[0].records) == before
    Client.away.clear()

    async def is_accepted() -> bool:
        return not await is_refused()

    await until(is_accepted, SECONDS)
    assert len(Client.made) == 1


async def test_the_end_waits_for_commands_that_are_on_their_way(
    producer: CommandProducer,
) -> None:
    """A stopped producer has answered every command, if only as unknown."""
    Client.silent.set()
    sending = producer.append("c", b"1")
    await producer.stop()
    async with asyncio.timeout(SECONDS):
        with pytest.raises(NotAcknowledged):
            await sending
