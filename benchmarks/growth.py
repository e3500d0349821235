"""The cost of a message in a worker with few conversations and in a worker with many.

Four deployments, each with its worker; their conversations have two members. In each round every
worker gets the same number of messages, to one conversation after the other, so that nearly all
messages meet an idle conversation where there are more than the workers hold as objects.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import psutil
from confluent_kafka import Consumer, Producer, TopicPartition

from backends.kafka import consumer_config, partition_of, producer_config
from benchmarks.deployment import deployment
from benchmarks.restore import StateOnBroker, copies, name_of
from benchmarks.results import Figure, Target, WrongOutput
from benchmarks.worker import worker
from schemas.codec import decode_position, encode
from schemas.errors import ServerUnavailable
from schemas.ids import uuid7
from schemas.records import SendMessage, TextContent
from schemas.settings import Settings
from schemas.topics import Topic
from stream_processors.state_codec import Progress, progress_record

SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
ROUNDS: Final = 5
MESSAGES: Final = 40_000
WARM_UP: Final = 10_000
_ENTRIES: Final = 2
"""Of each conversation at the beginning."""
_SECONDS: Final = 120.0


def figures() -> Iterator[Figure]:
    """Processor time of the worker, with the number of conversations as variant."""
    rounds: dict[str, list[float]] = {f"{size:,}": [] for size in SIZES}
    with ExitStack() as stack:
        grown = [stack.enter_context(conversations(size)) for size in SIZES]
        for _ in range(ROUNDS):
            for each in grown:
                rounds[f"{each.size:,}"].append(each.cost(MESSAGES))
    most, least = f"{SIZES[-1]:,}", f"{SIZES[0]:,}"
    yield Figure(
        "processor time of a message by the number of conversations",
        "µs",
        rounds,
        [Target(most, 1.25, least, direction="at_most")],
    )


@contextmanager
def conversations(size: int) -> Iterator[Conversations]:
    """A deployment with so many conversations, and its worker, which has restored them."""
    with deployment() as settings:
        _write_state(settings, size)
        consumer = Consumer(consumer_config(settings, settings.group("measure")))
        topic = settings.topic(Topic.TIMELINE)
        consumer.assign([TopicPartition(topic, p, 0) for p in range(settings.partitions)])
        try:
            with worker(settings, "stream_processors") as process:
                found = Conversations(settings, size, psutil.Process(process.pid), consumer)
                found.cost(WARM_UP)
                yield found
        finally:
            consumer.close()


class Conversations:
    """Sends messages to one conversation after the other, and reads what becomes of them.

    Args:
        settings: Their deployment.
        size: How many there are.
        process: The worker.
        consumer: Reads the timeline.
    """

    def __init__(
        self, settings: Settings, size: int, process: psutil.Process, consumer: Consumer
    ) -> None:
        self.size = size
        self._topic = settings.topic(Topic.MESSAGES)
        self._process = process
        self._consumer = consumer
        self._producer = Producer(
            producer_config(settings) | {"queue.buffering.max.messages": 1_000_000}
        )
        self._sent = 0
        self._seqs: Counter[str] = Counter()

    def cost(self, messages: int) -> float:
        """Processor time of the worker for each of so many messages, in microseconds.

        Raises:
            WrongOutput: An entry is missing or is there twice.
            ServerUnavailable: The entries did not come in time.
        """
        before = self._processor_seconds()
        for number in range(self._sent, self._sent + messages):
            command = _message(number, self.size)
            self._producer.produce(self._topic, encode(command), command.conv_id)
        self._sent += messages
        self._producer.flush(_SECONDS)
        self._read(messages)
        return (self._processor_seconds() - before) / messages * 1e6

    def _processor_seconds(self) -> float:
        used = self._process.cpu_times()
        return used.user + used.system

    def _read(self, wanted: int) -> None:
        found, deadline = 0, time.monotonic() + _SECONDS
        while found < wanted:
            if time.monotonic() > deadline:
                raise ServerUnavailable(f"only {found} of {wanted} entries came in time")
            for record in self._consumer.consume(min(10_000, wanted - found), 1.0):
                if record.error() is None:
                    found += 1
                    self._check(record.value())

    def _check(self, value: bytes | None) -> None:
        position = decode_position(value)
        self._seqs[position.conv_id] += 1
        if position.seq != _ENTRIES + self._seqs[position.conv_id]:
            raise WrongOutput("a SeqId is missing, or is there twice")


def _message(number: int, size: int) -> SendMessage:
    return SendMessage(
        conv_id=name_of(number % size), sender="owner", device_id="phone",
        client_msg_id=uuid7(1_000 + number, number), content=TextContent(text="hello"),
    )  # fmt: skip


def _write_state(settings: Settings, size: int) -> None:
    """Writes the state of a sequencer with this number of conversations."""
    writer = StateOnBroker(settings)
    for conv_id, records in copies(size):
        writer.partition = partition_of(conv_id, settings.partitions)
        for key, value in records:
            writer.state(key, value)
    for writer.partition in range(settings.partitions):
        writer.state(*progress_record(Progress()))
    writer.flush()
