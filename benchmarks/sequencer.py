"""How many messages a second one worker sequences, beside a plain loop, interleaved in one run.

Both read commands that wait on the source topic. The rate is taken from the timeline itself: the
entries from the tenth to the last tenth, by the time at which their writer produced them. So start
and end are left out, for both.
"""

from __future__ import annotations

import secrets
import statistics
import time
from collections.abc import Callable
from typing import Final

from confluent_kafka import Consumer, TopicPartition

from backends.kafka import admin_client, consumer_config, create_topics, new_topics
from benchmarks.worker import worker
from benchmarks.workload import fill
from schemas.errors import ServerUnavailable
from schemas.settings import Settings
from schemas.topics import Topic

ROUNDS: Final = 5
MESSAGES: Final = {2: 300_000, 10: 300_000}
"""Messages a run, by fan-out: some 5 s of work, so that it is not the first transactions alone."""

_RUN_SECONDS: Final = 120.0


def main() -> None:
    """Runs and prints a line for each fan-out."""
    for fan_out, messages in MESSAGES.items():
        ours, plain = [], []
        for _ in range(ROUNDS):
            plain.append(measure(fan_out, messages, _plain_loop))
            ours.append(measure(fan_out, messages, _sequencer))
        report(fan_out, ours, plain)


def report(fan_out: int, ours: list[float], plain: list[float]) -> None:
    """Prints medians of one fan-out, and the median of the ratios of neighbours."""
    share = statistics.median(a / b for a, b in zip(ours, plain, strict=True))
    rate = statistics.median(ours)
    print(
        f"fan-out {fan_out:3d}: sequencer {rate:9,.0f} messages/s "
        f"({rate * fan_out:9,.0f} sync records/s), "
        f"plain loop {statistics.median(plain):9,.0f} messages/s, share {share:.0%}",
        flush=True,
    )


def _plain_loop(fan_out: int, commands: int) -> tuple[str, ...]:
    return "benchmarks.plain_loop", str(fan_out), str(commands)


def _sequencer(_fan_out: int, _commands: int) -> tuple[str, ...]:
    return ("stream_processors",)


def measure(fan_out: int, messages: int, module: Callable[[int, int], tuple[str, ...]]) -> float:
    """Messages a second of one fresh worker over one fresh set of topics."""
    settings = Settings(namespace=f"bench-{secrets.token_hex(4)}", members_per_entry=1_000)
    create_topics(settings)
    try:
        commands = fill(settings, fan_out, messages)
        with worker(settings, *module(fan_out, commands)):
            return _rate(_timestamps(settings, commands))
    finally:
        admin = admin_client(settings)
        admin.delete_topics([topic.topic for topic in new_topics(settings)])


def _timestamps(settings: Settings, wanted: int) -> list[int]:
    """When each entry was produced (ms), waited for until all are committed."""
    consumer = Consumer(consumer_config(settings, settings.group("measure")))
    timeline = settings.topic(Topic.TIMELINE)
    consumer.assign([TopicPartition(timeline, p, 0) for p in range(settings.partitions)])
    found: list[int] = []
    deadline = time.monotonic() + _RUN_SECONDS
    while len(found) < wanted and time.monotonic() < deadline:
        _wait_for(settings, consumer, wanted, deadline)
        found += [m.timestamp()[1] for m in consumer.consume(100_000, 1.0) if m.error() is None]
    consumer.close()
    if len(found) < wanted:
        raise ServerUnavailable(f"only {len(found)} of {wanted} entries came in time")
    return sorted(found)


def _wait_for(settings: Settings, consumer: Consumer, wanted: int, deadline: float) -> None:
    """Sleeps until the timeline has grown to its length, so as not to compete for the cores."""
    timeline = settings.topic(Topic.TIMELINE)
    while time.monotonic() < deadline:
        places = [TopicPartition(timeline, p) for p in range(settings.partitions)]
        ends = [consumer.get_watermark_offsets(place, timeout=10)[1] for place in places]
        if sum(ends) >= wanted:
            return
        time.sleep(0.2)


def _rate(timestamps: list[int]) -> float:
    tenth = len(timestamps) // 10
    middle = timestamps[tenth:-tenth]
    return (len(middle) - 1) / ((middle[-1] - middle[0]) / 1000)


if __name__ == "__main__":
    main()
