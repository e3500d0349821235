"""From send to arrival at a following consumer, at a steady 1,000 messages a second.

One worker; every message has three recipients, one of whom follows. The clock starts before
`produce` and stops when `poll` hands the record over, in one process.
"""

from __future__ import annotations

import secrets
import statistics
import threading
import time
from collections.abc import Callable
from typing import Final

from confluent_kafka import Consumer, Producer, TopicPartition

from backends.kafka import (
    admin_client,
    consumer_config,
    create_topics,
    new_topics,
    partition_of,
    producer_config,
)
from benchmarks.worker import worker
from schemas.codec import decode_position, encode
from schemas.errors import ServerUnavailable
from schemas.ids import uuid7
from schemas.records import CreateConversation, SendMessage, TextContent
from schemas.settings import Settings
from schemas.topics import Topic

RATE: Final = 1_000
"""Messages a second."""
SECONDS: Final = 35
WARM_UP: Final = 15_000
"""Messages at the start that are not counted: the broker's own code is being compiled."""
CONVERSATIONS: Final = 100
FOLLOWER: Final = "follower"
_ARRIVAL_SECONDS: Final = 60.0


def main() -> None:
    """Runs once and prints one line."""
    settings = Settings(namespace=f"bench-{secrets.token_hex(4)}")
    create_topics(settings)
    try:
        with worker(settings, "stream_processors"):
            delays = sorted(Flight(settings).run())
    finally:
        admin = admin_client(settings)
        admin.delete_topics([topic.topic for topic in new_topics(settings)])
    p50, p99 = statistics.median(delays), delays[int(len(delays) * 0.99)]
    print(
        f"send to arrival at {RATE:,} messages/s, fan-out 3: "
        f"p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, {len(delays):,} messages",
        flush=True,
    )


class Flight:
    """Sends at a steady rate in one thread, follows in the other."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sent = [0.0] * (RATE * SECONDS)

    def run(self) -> list[float]:
        """The delays in seconds, without those of the warm-up."""
        consumer = self._follow()
        producer = Producer(producer_config(self._settings) | {"linger.ms": 0})
        self._create(producer)
        self._await_creation(consumer)
        sending = threading.Thread(target=self._send, args=(producer,))
        sending.start()
        arrived = self._collect(consumer)
        sending.join()
        consumer.close()
        return [arrived[n] - self._sent[n] for n in range(WARM_UP, len(self._sent))]

    def _follow(self) -> Consumer:
        consumer = Consumer(consumer_config(self._settings, self._settings.group("follow")))
        shard = partition_of(FOLLOWER, self._settings.sync_partitions)
        consumer.assign([TopicPartition(self._settings.topic(Topic.SYNC), shard, 0)])
        return consumer

    def _create(self, producer: Producer) -> None:
        for n in range(CONVERSATIONS):
            command = CreateConversation(
                conv_id=f"conv-{n}", sender=f"user-{n}", device_id="bench",
                client_msg_id=uuid7(0, n), members=[f"other-{n}", FOLLOWER],
            )  # fmt: skip
            producer.produce(
                self._settings.topic(Topic.MESSAGES), encode(command), command.conv_id
            )
        producer.flush(_ARRIVAL_SECONDS)

    def _await_creation(self, consumer: Consumer) -> None:
        _poll(consumer, CONVERSATIONS, lambda _value: None)

    def _send(self, producer: Producer) -> None:
        topic = self._settings.topic(Topic.MESSAGES)
        start = time.perf_counter()
        for n in range(len(self._sent)):
            pause = start + n / RATE - time.perf_counter()
            if pause > 0:
                time.sleep(pause)
            command = _message(n)
            self._sent[n] = time.perf_counter()
            producer.produce(topic, encode(command), command.conv_id)
        producer.flush(_ARRIVAL_SECONDS)

    def _collect(self, consumer: Consumer) -> dict[int, float]:
        arrived: dict[int, float] = {}

        def note(value: bytes | None) -> None:
            position = decode_position(value)
            conversation = int(position.conv_id.rpartition("-")[2])
            arrived[(position.seq - 2) * CONVERSATIONS + conversation] = time.perf_counter()

        _poll(consumer, len(self._sent), note)
        return arrived


def _message(n: int) -> SendMessage:
    conversation = n % CONVERSATIONS
    return SendMessage(
        conv_id=f"conv-{conversation}", sender=f"user-{conversation}", device_id="bench",
        client_msg_id=uuid7(1 + n, n), content=TextContent(text=f"message {n}"),
    )  # fmt: skip


def _poll(consumer: Consumer, wanted: int, note: Callable[[bytes | None], None]) -> None:
    """Polls one by one: `consume` would wait to fill its gulp, and that would be measured."""
    got, deadline = 0, time.monotonic() + _ARRIVAL_SECONDS
    while got < wanted:
        message = consumer.poll(0.5)
        if message is not None and message.error() is None and message.key() == FOLLOWER.encode():
            note(message.value())
            got += 1
        if time.monotonic() > deadline:
            raise ServerUnavailable(f"only {got} of {wanted} records arrived in time")


if __name__ == "__main__":
    main()
