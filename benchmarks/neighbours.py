"""The delay in quiet one-to-one chats next to a large group that is flooded.

One worker has all partitions. Each of six partitions has one chat of two people with 5 messages a
second. A seventh partition has the flooded group and one more such chat. The clock starts before
`produce` and stops when a reader of committed records has the message.

    alone       nobody else sends messages
    pull group  10,000 members, who read from the store
    push group  500 members, each of whom gets every message
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from confluent_kafka import Consumer, Producer

from backends.kafka.clients import partition_of, producer_config
from benchmarks.deployment import arrivals, deployment, following
from benchmarks.flood import SENDER
from benchmarks.results import Figure
from benchmarks.worker import worker
from schemas.codec import encode
from schemas.errors import ServerUnavailable
from schemas.ids import uuid7
from schemas.records import AnyCommand, CreateConversation, SendMessage, TextContent
from schemas.settings import Settings
from schemas.topics import Topic

RATE: Final = 5
"""Messages a second in each chat."""
SECONDS: Final = 5
FLOODED: Final = 6
"""The partition of the group, and of one of the chats. Each lower partition has one chat."""
SHARD: Final = 0
"""The shard of all listeners. The groups write to every shard, so also to this one."""
MEMBERS: Final = {"pull": 10_000, "push": 500}
MESSAGES: Final = {"pull": 500_000, "push": 60_000}
"""The worker needs 5 s and more for these messages; a lane is full long before."""

_ARRIVAL_SECONDS: Final = 30.0
_LATE_SECONDS: Final = 1.0
"""Time after the last message of a phase. A message that has not arrived by then waits for the
flood.
"""
_SETTLE_SECONDS: Final = 1.0
"""Pause after the start of the flood, until the flood has reached the worker."""


Message = tuple[str, int]
"""Conversation and SeqId."""


class Phase(NamedTuple):
    """Delays of one phase in seconds; infinite for a message that arrived later or never."""

    elsewhere: list[float]
    beside: list[float]


def figures() -> Iterator[Figure]:
    """The delays of the three phases, on other partitions and on the group's partition."""
    with deployment() as settings, worker(settings, "stream_processors"):
        phases = Town(settings).run()
    where = {
        "on other partitions": {name: phase.elsewhere for name, phase in phases.items()},
        "on the partition of the group": {name: phase.beside for name, phase in phases.items()},
    }
    for place, delays in where.items():
        rounds = {
            f"{name}, p{percent}": [_percentile(some, percent)]
            for name, some in delays.items()
            for percent in (50, 99)
        }
        yield Figure(f"chats of two beside a flooded group, {place}", "ms", rounds)


def _percentile(delays: Sequence[float], percent: int) -> float:
    """A percentile in milliseconds; at most the length of the phase."""
    ranked = sorted(delays)
    return min(SECONDS, ranked[len(ranked) * percent // 100]) * 1000


class Town:
    """The chats and the groups of one deployment with a running worker."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer = Producer(producer_config(settings) | {"linger.ms": 0})
        partitions = settings.partitions
        self._chats = [_landing_on(p, partitions, f"chat {p}") for p in range(FLOODED + 1)]
        self._listeners = {
            chat: _landing_on(SHARD, settings.sync_partitions, f"listener of {chat}")
            for chat in self._chats
        }
        self._groups = {name: _landing_on(FLOODED, partitions, name) for name in MESSAGES}
        self._last_seq = dict.fromkeys(self._chats, 1)
        self._sent: dict[Message, float] = {}
        self._arrived: dict[Message, float] = {}

    def run(self) -> dict[str, Phase]:
        """Runs all phases. The phase that leaves the most unprocessed messages comes last."""
        with following(self._settings, SHARD) as consumer:
            self._create(consumer)
            phases = {"alone": self._phase(consumer)}
            for name, messages in MESSAGES.items():
                self._await(consumer, _ARRIVAL_SECONDS)
                group = self._groups[name]
                with worker(self._settings, "benchmarks.flood", group, str(messages)):
                    time.sleep(_SETTLE_SECONDS)
                    phases[f"{name} group flooded"] = self._phase(consumer)
        return phases

    def _create(self, consumer: Consumer) -> None:
        for name, group in self._groups.items():
            members = [f"{name}-member-{n}" for n in range(MEMBERS[name] - 1)]
            self._send(_creation(group, SENDER, members))
        for chat in self._chats:
            self._sent[chat, 1] = time.perf_counter()
            self._send(_creation(chat, _talker(chat), [self._listeners[chat]]))
        self._await(consumer, _ARRIVAL_SECONDS)

    def _phase(self, consumer: Consumer) -> Phase:
        before = set(self._sent)
        talking = threading.Thread(target=self._talk)
        talking.start()
        self._follow(consumer, SECONDS + _LATE_SECONDS)
        talking.join()
        delays: dict[str, list[float]] = {chat: [] for chat in self._chats}
        for message in self._sent.keys() - before:
            arrived = self._arrived.get(message, float("inf"))
            delays[message[0]].append(arrived - self._sent[message])
        beside = delays.pop(self._chats[FLOODED])
        return Phase([delay for some in delays.values() for delay in some], beside)

    def _talk(self) -> None:
        start, pause = time.perf_counter(), 1 / (RATE * len(self._chats))
        for n in range(RATE * SECONDS * len(self._chats)):
            time.sleep(max(0.0, start + n * pause - time.perf_counter()))
            chat = self._chats[n % len(self._chats)]
            self._last_seq[chat] += 1
            seq = self._last_seq[chat]
            self._sent[chat, seq] = time.perf_counter()
            self._send(_message(chat, seq))

    def _send(self, command: AnyCommand) -> None:
        topic = self._settings.topic(Topic.MESSAGES)
        self._producer.produce(topic, encode(command), command.conv_id)
        self._producer.poll(0)

    def _follow(self, consumer: Consumer, seconds: float) -> None:
        listeners = {listener.encode() for listener in self._listeners.values()}
        for conv_id, seq, at in arrivals(consumer, listeners, seconds):
            self._arrived[conv_id, seq] = at

    def _await(self, consumer: Consumer, seconds: float) -> None:
        """Waits until all sent messages have arrived."""
        deadline = time.perf_counter() + seconds
        while len(self._arrived) < len(self._sent):
            if time.perf_counter() > deadline:
                missing = len(self._sent) - len(self._arrived)
                raise ServerUnavailable(f"{missing} messages did not arrive in {seconds:.0f} s")
            self._follow(consumer, 0.2)


def _landing_on(partition: int, partitions: int, name: str) -> str:
    keys = (f"{name}, {n}" for n in itertools.count())
    return next(key for key in keys if partition_of(key, partitions) == partition)


def _talker(chat: str) -> str:
    return f"talker of {chat}"


def _creation(conv_id: str, owner: str, members: list[str]) -> AnyCommand:
    return CreateConversation(
        conv_id=conv_id, sender=owner, device_id="bench", client_msg_id=uuid7(0, 0),
        members=members,
    )  # fmt: skip


def _message(chat: str, seq: int) -> AnyCommand:
    return SendMessage(
        conv_id=chat, sender=_talker(chat), device_id="bench", client_msg_id=uuid7(seq, seq),
        content=TextContent(text=f"message {seq}"),
    )  # fmt: skip
