"""Processor time that metrics add to the sequencer and to a sink.

Command: ``python -m benchmarks.metrics_cost``. Needs no servers. Each round measures each part
once, one part after the other. Prints the median, the lowest and the highest of the rounds.

- sequencer: processor time of a message without Kafka, as in `benchmarks.sequencer_alone`;
- transaction, batch: what the metrics add once for each transaction of the sequencer, or batch of
  a sink, of the given size;
- additions: what a transaction adds for each message to count entries and recipients.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry

from benchmarks.restore import Source
from benchmarks.sequencer_alone import FAN_OUT, MESSAGES, whole
from benchmarks.workload import CONVERSATIONS, creation, message
from schemas.codec import encode
from schemas.number_types import Milliseconds, Offset, SeqId
from schemas.records import MessageSent, TextContent
from sinks.base.counts import NO_COUNTS
from sinks.base.records import Record
from sinks.base.sink_metrics import SinkMetrics
from stream_processors.commit.lane_records import WrittenRecords
from stream_processors.lanes.lane_metrics import CommittedBatch, SequencerMetrics
from stream_processors.state.state_codec import CommandCounts

ROUNDS: Final = 9
SIZES: Final = (1, 10, 100, 8_000)
_REPEATED: Final = 2_000


class _Added:
    """The additions of a transaction for each message: an entry, its recipients, its records."""

    def __init__(self) -> None:
        self._entries = self._deliveries = self._sync_records = 0

    def add(self, recipients: tuple[str, ...], destinations: tuple[int, ...]) -> None:
        """As in `stream_processors.commit.lane_records`."""
        self._entries += 1
        self._deliveries += len(recipients)
        self._sync_records += len(destinations)


def main() -> None:
    """Prints a line for each part."""
    creations = [creation(number, FAN_OUT) for number in range(CONVERSATIONS)]
    messages = [message(number, FAN_OUT) for number in range(MESSAGES)]
    parts: dict[str, Callable[[], float]] = {
        "sequencer, a message": lambda: whole(creations, messages) / MESSAGES
    }
    for size in SIZES:
        parts[f"transaction of {size}"] = _transaction(size)
        parts[f"batch of {size}"] = _batch(size)
    parts["additions, a message"] = _additions
    rounds: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(ROUNDS):
        for name, part in parts.items():
            rounds[name].append(part() * 1e6)
    for name, times in rounds.items():
        median = statistics.median(times)
        print(f"{name}: {median:.3f} µs ({min(times):.3f} to {max(times):.3f})")


def _transaction(size: int) -> Callable[[], float]:
    metrics = SequencerMetrics(CollectorRegistry())
    records = [Source(Offset(at), message(at, FAN_OUT)) for at in range(size)]
    batch = CommittedBatch(
        records, CommandCounts(), CommandCounts(accepted=size), Counter(),
        WrittenRecords(size, size * FAN_OUT, size, []),
    )  # fmt: skip
    return lambda: _each(lambda: metrics.committed([batch], 0.02))


def _batch(size: int) -> Callable[[], float]:
    metrics = SinkMetrics("sink-message", CollectorRegistry())
    entry = MessageSent(
        conv_id="a conversation", seq=SeqId(7), sender="a person", client_msg_id="an id",
        at=Milliseconds(1_764_000_000_000), content=TextContent(text="x" * 100), mentions=[],
    )  # fmt: skip
    records = [Record(0, Offset(at), b"a conversation", encode(entry)) for at in range(size)]
    return lambda: _each(lambda: metrics.finished(records, NO_COUNTS, [], 0.02))


def _additions() -> float:
    added, recipients, destinations = _Added(), ("ann", "bob"), (1,)
    with_them = _each(lambda: added.add(recipients, destinations))
    return with_them - _each(lambda: _nothing(recipients, destinations))


def _nothing(recipients: tuple[str, ...], destinations: tuple[int, ...]) -> None:
    """The call alone."""


def _each(call: Callable[[], None]) -> float:
    """The processor time of one call, in seconds."""
    begun = time.process_time()
    for _ in range(_REPEATED):
        call()
    return (time.process_time() - begun) / _REPEATED


if __name__ == "__main__":
    main()
