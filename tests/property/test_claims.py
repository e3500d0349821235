"""Workers that claim one partition, in random orders of their requests, with kills between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.limits import Limits
from schemas.number_types import Milliseconds, Offset
from schemas.settings import Settings
from stream_processors.commit.claims import WriterClaims
from stream_processors.commit.lane_records import Written
from stream_processors.commit.transaction import LaneBatch, Transactions
from stream_processors.commit.turns import Turns
from stream_processors.sequencing.sequencer import Sequencer
from stream_processors.state.conversations import Conversations
from stream_processors.state.state_codec import LaneProgress
from tests.support.claim_broker import MemoryBroker, Process
from tests.support.sequencing import Source

PROCESSES = 3
COMMITS = 3


class OneRecordLane:
    """The lane of partition 0, in place of `LaneRecords`: each batch is one source record."""

    partition = 0

    def __init__(self, sequencer: Sequencer) -> None:
        self.sequencer = sequencer

    def prepare(self, records: list[Source]) -> list[Source]:
        return records

    def write(self, _records: list[Source], _turn: object) -> Written:
        progress = self.sequencer.progress
        progress.next_offset = Offset(progress.next_offset + 1)
        return Written(1, 1)

    def write_copies(self) -> None:
        """No reply needs a copy."""

    def committed(self, _done: int) -> None:
        """There are no spans."""


def worker(broker: MemoryBroker, name: str, *, releases: bool) -> Callable[[Process], None]:
    """A worker that claims the partition, commits records one by one, and may give it up."""

    def run(process: Process) -> None:
        settings, mine = Settings(), broker.for_process(process)
        producer: Any = mine.initialised(name)
        transactions = Transactions(settings, name, producer, lambda: None, Turns().join())
        claim = WriterClaims(settings, mine, lambda: None).begin(0, name)
        progress = LaneProgress(Offset(mine.restored_offset()))
        sequencer = Sequencer(Limits(), Conversations(), progress)
        claim.commit(sequencer)
        lane: Any = OneRecordLane(sequencer)
        for _ in range(COMMITS):
            record = Source(progress.next_offset, Milliseconds(0), None, None)
            transactions.run([LaneBatch(lane, [record])])
        if releases:
            transactions.release([lane])

    return run


Run = tuple[int, int, bool]
"""A process makes this number of steps, and is killed before the last one or not."""

schedules: st.SearchStrategy[list[Run]] = st.lists(
    st.tuples(
        st.integers(0, PROCESSES - 1), st.integers(1, 12), st.sampled_from([False] * 9 + [True])
    ),
    min_size=4,
    max_size=20,
)


def run(schedule: list[Run], *, releases: list[bool]) -> tuple[MemoryBroker, list[Process]]:
    """The broker and the processes after a schedule of runs and kills."""
    broker = MemoryBroker()
    processes = [
        Process(worker(broker, f"writer {number}", releases=release))
        for number, release in enumerate(releases)
    ]
    for number, count, kill in schedule:
        for left in reversed(range(count)):
            processes[number].step(kill=kill and not left)
    for process in processes:
        assert process.failure is None
    return broker, processes


@given(schedules, st.lists(st.booleans(), min_size=PROCESSES, max_size=PROCESSES))
def test_no_record_is_committed_twice(schedule: list[Run], releases: list[bool]) -> None:
    """A writer commits only on top of the last commit, whoever claims, writes or dies meanwhile.

    Each record is committed once, in order. A commit that repeats an offset is a claim or the end
    of a tenure.
    """
    broker, processes = run(schedule, releases=releases)
    offsets = [offset for _, offset in broker.committed]
    advances = [
        after for before, after in zip([0, *offsets], offsets, strict=False) if after != before
    ]
    assert advances == list(range(1, broker.offset + 1))
    for process in processes:  # no thread outlives the test
        process.step(kill=True)


@given(schedules)
def test_one_worker_alone_always_finishes(schedule: list[Run]) -> None:
    """After any faults of two others, a worker that nobody disturbs claims and commits all."""
    broker, processes = run(
        [each for each in schedule if each[0] != PROCESSES - 1], releases=[False] * PROCESSES
    )
    before, last = broker.offset, processes[-1]
    while last.is_alive:
        last.step()
    assert last.failure is None
    assert broker.offset == before + COMMITS
    for process in processes:
        process.step(kill=True)


def test_a_writer_that_gave_up_its_partition_is_not_fenced() -> None:
    """The next owner leaves the writer its other partitions. Without the release it fences it."""
    for releases in (True, False):
        broker = MemoryBroker()
        first = Process(worker(broker, "first", releases=releases))
        while first.is_alive:
            first.step()
        second = Process(worker(broker, "second", releases=True))
        while second.is_alive:
            second.step()
        assert (broker.generation_of("first") == 1) is releases
        assert broker.offset == 2 * COMMITS
