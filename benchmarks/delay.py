"""The delay from send to arrival at a following consumer, at a steady rate of messages.

1. At 1,000 messages a second. 2. At 500 messages a second, with different numbers of partitions:
each partition is a lane with transactions of its own.

One worker; every message has three recipients, and one of them follows. The clock starts before
`produce` and stops when `poll` returns the record, in one process.
"""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

from confluent_kafka import Consumer, Producer

from backends.kafka.clients import partition_of, producer_config
from benchmarks.deployment import Arrival, arrivals, deployment, following
from benchmarks.results import Figure, Target
from benchmarks.worker import worker
from schemas.codec import encode
from schemas.errors import ServerUnavailable
from schemas.ids import uuid7
from schemas.records import CreateConversation, SendMessage, TextContent
from schemas.settings import Settings
from schemas.topics import Topic

RATE: Final = 1_000
"""Messages a second."""
ROUNDS: Final = 5
SECONDS: Final = 25
WARM_UP_SECONDS: Final = 15
"""Time at the start that does not count: the broker's JVM is still compiling its code."""
SLOW_RATE: Final = 500
SLOW_SECONDS: Final = 14
SLOW_WARM_UP_SECONDS: Final = 6
PARTITIONS: Final = (8, 4, 2)
CONVERSATIONS: Final = 100
FOLLOWER: Final = "follower"
_ARRIVAL_SECONDS: Final = 60.0


class Flight(NamedTuple):
    """A steady rate in messages a second, its duration, and the part that does not count."""

    rate: int
    seconds: int
    warm_up_seconds: int


_IF_MISSED: Final = (
    "the records of a transaction go to up to 24 partitions, each with its request; next: one"
    " request for all partitions (librdkafka issue 1700)"
)
"""The time of each part is in ``docs/figures.md``."""

_FAST: Final = Flight(RATE, SECONDS, WARM_UP_SECONDS)
_SLOW: Final = Flight(SLOW_RATE, SLOW_SECONDS, SLOW_WARM_UP_SECONDS)


def figures() -> Iterator[Figure]:
    """The delay, with its percentiles as variants."""
    rounds: dict[str, list[float]] = {"p50": [], "p99": []}
    for _ in range(ROUNDS):
        for name, delay in zip(rounds, _percentiles(_FAST), strict=True):
            rounds[name].append(delay)
    yield Figure(
        f"send to arrival at {RATE:,} messages/s, fan-out 3",
        "ms",
        rounds,
        [
            Target("p50", 20, direction="at_most", if_missed=_IF_MISSED),
            Target("p99", 60, direction="at_most", if_missed=_IF_MISSED),
        ],
    )
    yield _by_partitions()


def _by_partitions() -> Figure:
    rounds: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for number in PARTITIONS:
            found = _percentiles(_SLOW, partitions=number, sync_partitions=number)
            for name, delay in zip(("p50", "p99"), found, strict=True):
                rounds.setdefault(f"{number} partitions, {name}", []).append(delay)
    return Figure(f"send to arrival at {SLOW_RATE} messages/s, fan-out 3", "ms", rounds)


def _percentiles(flight: Flight, **overrides: int) -> tuple[float, float]:
    """The median and the 99th percentile in milliseconds of one flight, in a fresh deployment."""
    with deployment(**overrides) as settings, worker(settings, "stream_processors"):
        delays = sorted(SteadySender(settings, flight).run())
    return statistics.median(delays) * 1000, delays[int(len(delays) * 0.99)] * 1000


class SteadySender:
    """Sends at a steady rate in one thread, follows in the other."""

    def __init__(self, settings: Settings, flight: Flight) -> None:
        self._settings = settings
        self._rate = flight.rate
        self._uncounted = flight.rate * flight.warm_up_seconds
        self._sent = [0.0] * (flight.rate * flight.seconds)

    def run(self) -> list[float]:
        """The delays in seconds, without those of the warm-up messages."""
        producer = Producer(producer_config(self._settings) | {"linger.ms": 0})
        shard = partition_of(FOLLOWER, self._settings.sync_partitions)
        with following(self._settings, shard) as consumer:
            self._create(producer)
            _collect(consumer, CONVERSATIONS)
            sending = threading.Thread(target=self._send, args=(producer,))
            sending.start()
            arrived = {_number(each): each.at for each in _collect(consumer, len(self._sent))}
            sending.join()
        return [arrived[n] - self._sent[n] for n in range(self._uncounted, len(self._sent))]

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

    def _send(self, producer: Producer) -> None:
        topic = self._settings.topic(Topic.MESSAGES)
        start = time.perf_counter()
        for n in range(len(self._sent)):
            pause = start + n / self._rate - time.perf_counter()
            if pause > 0:
                time.sleep(pause)
            command = _message(n)
            self._sent[n] = time.perf_counter()
            producer.produce(topic, encode(command), command.conv_id)
        producer.flush(_ARRIVAL_SECONDS)


def _message(n: int) -> SendMessage:
    conversation = n % CONVERSATIONS
    return SendMessage(
        conv_id=f"conv-{conversation}", sender=f"user-{conversation}", device_id="bench",
        client_msg_id=uuid7(1 + n, n), content=TextContent(text=f"message {n}"),
    )  # fmt: skip


def _number(arrival: Arrival) -> int:
    """The number of a message in the order of sending."""
    conversation = int(arrival.conv_id.rpartition("-")[2])
    return (arrival.seq - 2) * CONVERSATIONS + conversation


def _collect(consumer: Consumer, wanted: int) -> list[Arrival]:
    arrived = arrivals(consumer, {FOLLOWER.encode()}, _ARRIVAL_SECONDS)
    found = list(itertools.islice(arrived, wanted))
    if len(found) < wanted:
        raise ServerUnavailable(f"only {len(found)} of {wanted} records arrived in time")
    return found
