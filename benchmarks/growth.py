"""The cost of a message in a worker with few conversations and in a worker with many.

There are four deployments, each with its worker; their conversations have two members. In each
round every worker gets the same number of messages twice:

- to 800 conversations, one after the other, for every size. All sizes have the same number of
  messages to one conversation in a transaction, so that growth alone is measured;
- to all conversations, one after the other, with 10,000 and more. Nearly every message meets an
  idle conversation, and a transaction has at most a few messages to one conversation. So a message
  pays for an idle conversation and for up to two state records. 1,000 conversations are not
  comparable: their messages share state records, and the workers hold all of them as objects.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import psutil
from confluent_kafka import Consumer, Producer, TopicPartition

from backends.kafka.clients import consumer_config, partition_of, producer_config
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
from stream_processors.state.state_codec import LaneProgress, progress_record

SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
ACTIVE: Final = 800
"""Number of active conversations. A worker holds ten times this number as objects."""
ROUNDS: Final = 5
MESSAGES: Final = 40_000
WARM_UP: Final = 10_000
_ENTRIES: Final = 2
"""Entries of each conversation at the beginning."""
_SECONDS: Final = 120.0
_IF_MISSED: Final = (
    "the state of more conversations does not fit the processor's caches, which other programs "
    "use too: complete runs had 0.98 to 1.38; next: encode an idle conversation once, with its "
    "state records"
)


def figures() -> Iterator[Figure]:
    """Processor time of the worker, with the number of conversations as variant."""
    active: dict[str, list[float]] = {f"{size:,}": [] for size in SIZES}
    every: dict[str, list[float]] = {f"{size:,}": [] for size in SIZES[1:]}
    with ExitStack() as stack:
        grown = [stack.enter_context(conversations(size)) for size in SIZES]
        for _ in range(ROUNDS):
            for each in grown:
                name = f"{each.size:,}"
                active[name].append(each.cost(MESSAGES, ACTIVE))
                if name in every:
                    every[name].append(each.cost(MESSAGES, each.size))
    yield _figure(f"processor time of a message to one of {ACTIVE} conversations", active)
    yield _figure("processor time of a message, each to the next conversation", every)


def _figure(name: str, rounds: dict[str, list[float]]) -> Figure:
    least, *_, most = rounds
    target = Target(most, 1.25, least, direction="at_most", if_missed=_IF_MISSED)
    return Figure(name, "µs", rounds, [target])


@contextmanager
def conversations(size: int) -> Iterator[Conversations]:
    """A deployment with this number of conversations, and its worker, which has restored them."""
    with deployment() as settings:
        _write_state(settings, size)
        consumer = Consumer(consumer_config(settings, settings.group("measure")))
        topic = settings.topic(Topic.TIMELINE)
        consumer.assign([TopicPartition(topic, p, 0) for p in range(settings.partitions)])
        try:
            with worker(settings, "stream_processors") as process:
                found = Conversations(settings, size, psutil.Process(process.pid), consumer)
                found.cost(WARM_UP, size)
                yield found
        finally:
            consumer.close()


class Conversations:
    """Sends messages to conversations, and reads the resulting entries.

    Args:
        settings: The deployment of the conversations.
        size: Number of conversations.
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

    def cost(self, messages: int, active: int) -> float:
        """Processor time of the worker for each of some messages, in microseconds.

        Args:
            messages: Number of messages to send, to one conversation after the other.
            active: Number of conversations that get the messages.

        Raises:
            WrongOutput: An entry is missing or occurs twice.
            ServerUnavailable: The entries did not arrive in time.
        """
        before = self._processor_seconds()
        for number in range(self._sent, self._sent + messages):
            command = _message(number, number % active * (self.size // active))
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


def _message(number: int, conversation: int) -> SendMessage:
    return SendMessage(
        conv_id=name_of(conversation), sender="owner", device_id="phone",
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
        writer.state(*progress_record(LaneProgress()))
    writer.flush()
