"""A writer commits all records of its lanes, whenever they arrive, and gives up stopped lanes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, Final

import pytest
from prometheus_client import CollectorRegistry

from schemas.limits import Limits
from schemas.number_types import FIRST_EPOCH, EpochNumber, Milliseconds, Offset
from schemas.settings import Settings
from stream_processors.commit.lane_records import Written, WrittenRecords
from stream_processors.commit.turns import Turn, Turns
from stream_processors.lanes import writer as module
from stream_processors.lanes.inbox import Inbox
from stream_processors.lanes.lane_metrics import SequencerMetrics
from stream_processors.lanes.writer import Writer
from stream_processors.sequencing.sequencer import Sequencer
from stream_processors.state.conversations import Conversations
from stream_processors.state.state_codec import LaneProgress
from tests.support.processes import wait_until
from tests.support.sequencing import Source

AT_ONCE: Final = 3
"""Records that a lane writes in one transaction."""


class GatedProducer:
    """A transactional producer. While `gate` is closed, a commit waits."""

    def __init__(self, _config: object) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.is_committing = threading.Event()

    def init_transactions(self, _seconds: float) -> None:
        """Fences nobody."""

    def begin_transaction(self) -> None:
        """Opens a transaction."""

    def send_offsets_to_transaction(self, *_: object) -> None:
        """Adds offsets."""

    def commit_transaction(self, _seconds: float) -> None:
        """Commits when the gate is open."""
        self.is_committing.set()
        assert self.gate.wait(30)
        self.is_committing.clear()


class StubRecords:
    """The records of a lane in place of `LaneRecords`: at most `AT_ONCE` in a transaction."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.sequencer = Sequencer(Limits(), Conversations(), LaneProgress())
        self.epoch = FIRST_EPOCH
        self.written: list[int] = []

    def prepare(self, records: list[Source]) -> list[Source]:
        return records

    def write(self, records: list[Source], _turn: Turn) -> Written:
        some = records[:AT_ONCE]
        self.written += [record.offset for record in some]
        self.sequencer.progress.next_offset = Offset(some[-1].offset + 1)
        return Written(len(some), len(some))

    def write_copies(self) -> None:
        """No reply needs a copy."""

    def committed(self, _done: int) -> None:
        """There are no spans."""

    def take_written(self) -> WrittenRecords:
        return WrittenRecords(0, 0, 0, [])

    def switch(self, epoch: EpochNumber) -> None:
        self.epoch = epoch


class StubLane:
    """A lane without a broker. A `WrittenLane`."""

    def __init__(self, partition: int, writer: Writer) -> None:
        records: Any = StubRecords(partition)
        self.records = records
        self.written: list[int] = records.written
        self.inbox = Inbox(self, lambda call: call(), writer.arrived)
        self.is_released = threading.Event()
        self._next = 0

    def hold(self, on_hold: bool) -> None:  # noqa: FBT001 - the signature of the port
        """The test puts no more than fits."""

    def start_at(self, offset: Offset) -> None:
        """Records arrive when the test puts them."""

    def put(self, count: int) -> None:
        """Adds records with the next offsets."""
        offsets = range(self._next, self._next + count)
        self._next = offsets.stop
        self.inbox.put([Source(Offset(at), Milliseconds(0), None, None) for at in offsets])

    def before(self, _records: object) -> None:
        """There are no gaps."""

    def committed(self) -> None:
        """Nobody reads the position."""

    def released(self) -> None:
        self.is_released.set()

    def has_written_all(self) -> bool:
        """Whether each record is written once, in order, and done."""
        return self.inbox.is_empty and self.written == list(range(self._next))


class World:
    """A writer with lanes."""

    def __init__(self) -> None:
        self.epoch = FIRST_EPOCH
        self.writer = Writer(
            Settings(), lambda: None, Turns(), lambda: self.epoch,
            SequencerMetrics(CollectorRegistry()),
        )  # fmt: skip
        self.producer: Any = self.writer.producer

    def lane(self, partition: int) -> StubLane:
        """A lane of the writer."""
        lane = StubLane(partition, self.writer)
        lane.inbox.begin(Offset(0))
        self.writer.add(lane)
        return lane


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A writer with a producer in memory."""
    monkeypatch.setattr(module, "Producer", GatedProducer)
    world = World()
    world.writer.await_begin()
    yield world
    world.writer.stop()


def test_records_that_arrive_during_a_commit_are_committed(world: World) -> None:
    """No record waits for a later one, also while earlier records need several transactions."""
    lane, other = world.lane(0), world.lane(1)
    world.producer.gate.clear()
    lane.put(2 * AT_ONCE)
    assert world.producer.is_committing.wait(30)
    lane.put(1)
    other.put(1)
    world.producer.gate.set()

    wait_until(lambda: lane.has_written_all() and other.has_written_all(), "all is written")


def test_a_lane_gets_its_records_done_in_any_rhythm(world: World) -> None:
    """Several lanes with chunks of all sizes, one after the other, lose nothing."""
    lanes = [world.lane(number) for number in range(4)]
    for count in range(1, 40):
        lanes[count % 4].put(count % 7 + 1)

    wait_until(lambda: all(lane.has_written_all() for lane in lanes), "all is written")


def test_a_stopped_lane_is_released_and_the_others_continue(world: World) -> None:
    """The running transaction ends first. The dropped records are not written."""
    lane, other = world.lane(0), world.lane(1)
    world.producer.gate.clear()
    lane.put(5 * AT_ONCE)
    assert world.producer.is_committing.wait(30)
    lane.inbox.stop()
    world.writer.wake()
    assert not lane.is_released.is_set()
    world.producer.gate.set()
    assert lane.is_released.wait(30)
    assert lane.written == list(range(AT_ONCE))

    other.put(4)
    wait_until(other.has_written_all, "the other lane continues")


def test_lanes_switch_to_a_new_epoch_without_records(world: World) -> None:
    """A declared epoch reaches idle lanes, and lanes that are added later."""
    lane = world.lane(0)
    world.epoch = EpochNumber(1)
    world.writer.wake()
    wait_until(lambda: lane.records.epoch == 1, "the lane has switched")
    later = world.lane(1)
    wait_until(lambda: later.records.epoch == 1, "the later lane has switched")
