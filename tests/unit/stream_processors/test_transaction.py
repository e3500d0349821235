"""A transaction of several lanes: one commit for all, and a limit that the lanes share."""

from __future__ import annotations

from typing import Any, Final

from confluent_kafka import TopicPartition

from backends.kafka.commit_notes import decode_note
from schemas.limits import Limits
from schemas.number_types import Milliseconds, Offset
from schemas.settings import Settings
from stream_processors.commit.lane_records import Written
from stream_processors.commit.transaction import LaneBatch, Transactions
from stream_processors.commit.turns import LONG_TURN, SHORT_TURN, Turn, Turns
from stream_processors.sequencing.sequencer import Sequencer
from stream_processors.state.conversations import Conversations
from stream_processors.state.state_codec import LaneProgress
from tests.support.clock import Clock
from tests.support.sequencing import Source

WRITES: Final = 1_000
"""Records that each source record of a `StubLane` writes."""


class LoggingProducer:
    """A transactional producer that logs its calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.offsets: list[TopicPartition] = []

    def begin_transaction(self) -> None:
        self.calls.append("begin")

    def send_offsets_to_transaction(self, places: list[TopicPartition], *_: object) -> None:
        self.calls.append("offsets")
        self.offsets = places

    def commit_transaction(self, _seconds: float) -> None:
        self.calls.append("commit")


class StubLane:
    """A lane in place of `LaneRecords`: each source record writes `WRITES` records."""

    def __init__(self, partition: int, calls: list[str]) -> None:
        self.partition = partition
        self.sequencer = Sequencer(Limits(), Conversations(), LaneProgress())
        self._calls = calls
        self.turns: list[Turn] = []
        self.committed_records = 0

    def prepare(self, records: list[Source]) -> list[Source]:
        self._calls.append("prepare")
        return records

    def write(self, records: list[Source], turn: Turn) -> Written:
        self._calls.append(f"write {self.partition}")
        self.turns.append(turn)
        done = min(len(records), -(-turn.writes // WRITES))
        self.sequencer.progress.next_offset = Offset(records[done - 1].offset + 1)
        return Written(done, done * WRITES)

    def write_copies(self) -> None:
        self._calls.append("copies")

    def committed(self, done: int) -> None:
        self._calls.append("committed")
        self.committed_records += done


class World:
    """A producer and its lanes."""

    def __init__(self, *partitions: int) -> None:
        producer: Any = LoggingProducer()
        self.producer = producer
        self.calls: list[str] = producer.calls
        self.lanes: list[Any] = [StubLane(number, self.calls) for number in partitions]
        self.transactions = Transactions(
            Settings(), "writer", producer, lambda: None, Turns(Clock()).join()
        )

    def run(self, *counts: int, is_short: bool = False) -> list[int]:
        """Runs one transaction with this number of records of each lane."""
        batches = [
            LaneBatch(
                lane, [Source(Offset(at), Milliseconds(0), None, None) for at in range(count)]
            )
            for lane, count in zip(self.lanes, counts, strict=True)
        ]
        return self.transactions.run(batches, is_short=is_short)

    def writers(self) -> list[object]:
        """The writer in the note of each committed offset."""
        return [decode_note(place.metadata).writer for place in self.producer.offsets]


def test_all_lanes_are_in_one_commit() -> None:
    """Everything is prepared before the begin, and notified after the commit."""
    world = World(3, 5)

    assert world.run(2, 1) == [2, 1]

    assert world.calls == [
        "prepare", "prepare", "begin", "write 3", "write 5", "copies", "copies", "offsets",
        "commit", "committed", "committed",
    ]  # fmt: skip
    offsets = world.producer.offsets
    assert [(place.partition, place.offset) for place in offsets] == [(3, 2), (5, 1)]
    assert world.writers() == ["writer", "writer"]


def test_lanes_share_the_limit() -> None:
    """Each lane gets an equal part, and the next lanes what the earlier ones did not use."""
    world = World(0, 1, 2)

    done = world.run(1, 1_000, 1_000)

    limits = [lane.turns[0].writes for lane in world.lanes]
    assert limits == [LONG_TURN.writes // 3, (LONG_TURN.writes - WRITES) // 2, 12_000]
    assert done == [1, 12, 12]
    assert sum(done) * WRITES <= LONG_TURN.writes + WRITES * len(done)


def test_a_lane_behind_the_limit_makes_progress() -> None:
    """With one record that exceeds the limit, each other lane still commits a record."""
    world = World(*range(30))

    assert min(world.run(*[1_000] * 30, is_short=True)) == 1
    assert world.lanes[0].turns[0].writes == SHORT_TURN.writes // 30


def test_a_writer_that_releases_lanes_names_no_writer() -> None:
    """The last commit of a partition keeps the offset, and has an empty name."""
    world = World(3, 5)
    world.run(2, 1)

    world.transactions.release(world.lanes)

    assert [place.offset for place in world.producer.offsets] == [2, 1]
    assert world.writers() == ["", ""]
