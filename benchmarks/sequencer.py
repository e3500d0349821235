"""Messages a second that one worker sequences, compared with a plain loop, interleaved in one run.

Both programs read commands that wait on the source topic. The rate comes from the timeline: the
entries from the tenth to the last tenth, by the time at which the program produced them. So the
start and the end of a run do not count, for either program. Each run is checked: the numbers of
every conversation are 1..n in the timeline, and the sync topic has at least one delivery for each
entry and recipient (a check of the total).
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final

from confluent_kafka import Consumer, Message, TopicPartition

from backends.kafka.clients import admin_client, consumer_config, create_topics, new_topics
from benchmarks import yardstick
from benchmarks.results import Figure, Target, WrongOutput
from benchmarks.worker import worker
from benchmarks.workload import CONVERSATIONS, fill
from schemas.codec import decode_position
from schemas.errors import ServerUnavailable
from schemas.recipients import recipients_of
from schemas.settings import Settings
from schemas.topics import Topic

ROUNDS: Final = 5
MESSAGES: Final = {2: 300_000, 10: 300_000, 100: 200_000, 500: 150_000}
"""Messages of a run, by fan-out: some 5 s of work, so that the first transactions weigh little."""

SEQUENCER: Final = "sequencer"
PLAIN: Final = "plain loop"

_OF_YARDSTICK: Final = {2: 0.7, 10: 1.0, 100: 4.0}
_IF_MISSED: Final = {
    2: "the core takes 27 % of the worker's time, all lanes 61 %; next: fewer calls for a message"
}
"""The profile is in ``docs/figures.md``."""

_OF_PLAIN: Final = {10: 0.7, 100: 0.7}
_DELIVERIES: Final = {500: 8_000_000}

_RUN_SECONDS: Final = 120.0


def figures() -> Iterator[Figure]:
    """One figure for each fan-out."""
    for fan_out, messages in MESSAGES.items():
        rounds: dict[str, list[float]] = {SEQUENCER: [], PLAIN: []}
        for _ in range(ROUNDS):
            rounds[PLAIN].append(measure(fan_out, messages, is_plain=True))
            rounds[SEQUENCER].append(measure(fan_out, messages))
            if yardstick.is_given() and fan_out in _OF_YARDSTICK:
                rate = yardstick.measure(Settings().kafka_bootstrap, fan_out, messages)
                rounds.setdefault(yardstick.NAME, []).append(rate)
        yield Figure(
            f"sequencing, fan-out {fan_out}", "messages/s", rounds, list(_targets(fan_out, rounds))
        )


def _targets(fan_out: int, rounds: dict[str, list[float]]) -> Iterator[Target]:
    if fan_out in _OF_PLAIN:
        yield Target(SEQUENCER, _OF_PLAIN[fan_out], PLAIN)
    if yardstick.NAME in rounds:
        reason = _IF_MISSED.get(fan_out, "")
        yield Target(SEQUENCER, _OF_YARDSTICK[fan_out], yardstick.NAME, if_missed=reason)
    if fan_out in _DELIVERIES:
        yield Target(SEQUENCER, _DELIVERIES[fan_out] / fan_out)


def measure(fan_out: int, messages: int, *, is_plain: bool = False) -> float:
    """Messages a second of one fresh worker over one fresh set of topics.

    Raises:
        WrongOutput: An entry is missing or occurs twice, or deliveries are missing.
        ServerUnavailable: The entries did not arrive in time.
    """
    settings = Settings(namespace=f"bench-{secrets.token_hex(4)}", members_per_entry=1_000)
    create_topics(settings)
    try:
        commands = fill(settings, fan_out, messages)
        plain = ("benchmarks.plain_loop", str(fan_out), str(commands))
        with worker(settings, *(plain if is_plain else ("stream_processors",))):
            rate = _checked_rate(settings, commands)
        _check_deliveries(settings, commands * fan_out)
        return rate
    finally:
        admin = admin_client(settings)
        admin.delete_topics([topic.topic for topic in new_topics(settings)])


def _checked_rate(settings: Settings, wanted: int) -> float:
    """The rate from the timeline, in which the numbers of each conversation must be 1..n."""
    times: list[int] = []
    seqs: Counter[str] = Counter()
    _wait_for_timeline(settings, wanted)
    for message in _records(settings, Topic.TIMELINE, wanted):
        position = decode_position(message.value())
        seqs[position.conv_id] += 1
        _check(position.seq == seqs[position.conv_id], "a SeqId is missing, or is there twice")
        times.append(message.timestamp()[1])
    _check(len(seqs) == CONVERSATIONS, "a conversation is missing")
    return _rate(sorted(times))


def _check_deliveries(settings: Settings, wanted: int) -> None:
    found = 0
    for message in _records(settings, Topic.SYNC, wanted):
        found += len(recipients_of(message.key() or b""))
        if found >= wanted:
            break
    _check(found == wanted, f"{found} deliveries of {wanted}")


def _check(is_right: bool, fault: str) -> None:  # noqa: FBT001 - used like an assertion
    if not is_right:
        raise WrongOutput(fault)


def _records(settings: Settings, topic: Topic, most: int) -> Iterator[Message]:
    """The committed records of a topic, up to this number, until no more arrive."""
    consumer = Consumer(consumer_config(settings, settings.group("measure")))
    places = consumer.list_topics(settings.topic(topic)).topics[settings.topic(topic)].partitions
    consumer.assign([TopicPartition(settings.topic(topic), place, 0) for place in places])
    found, deadline = 0, time.monotonic() + _RUN_SECONDS
    try:
        while found < most and time.monotonic() < deadline:
            for message in consumer.consume(min(100_000, most - found), 1.0):
                if message.error() is None:
                    found += 1
                    yield message
    finally:
        consumer.close()


def _wait_for_timeline(settings: Settings, wanted: int) -> None:
    """Waits until the timeline has its length. Sleeps, so that it does not compete for the cores.

    Raises:
        ServerUnavailable: The timeline did not reach its length in time.
    """
    consumer = Consumer(consumer_config(settings, settings.group("measure")))
    name = settings.topic(Topic.TIMELINE)
    places = [TopicPartition(name, p) for p in range(settings.partitions)]
    deadline = time.monotonic() + _RUN_SECONDS
    try:
        while time.monotonic() < deadline:
            ends = [consumer.get_watermark_offsets(place, timeout=10)[1] for place in places]
            if sum(ends) >= wanted:
                return
            time.sleep(0.2)
    finally:
        consumer.close()
    raise ServerUnavailable(f"{name} has not {wanted} records in time")


def _rate(timestamps: list[int]) -> float:
    tenth = len(timestamps) // 10
    middle = timestamps[tenth:-tenth]
    return (len(middle) - 1) / ((middle[-1] - middle[0]) / 1000)
