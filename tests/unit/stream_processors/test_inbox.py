"""A lane's inbox never blocks the caller that adds records, and has a bound."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.number_types import Milliseconds, Offset
from stream_processors.lanes import inbox as module
from stream_processors.lanes.inbox import Inbox
from tests.support.sequencing import Source

ENOUGH, ROOM = 10, 5


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound that short lists of records reach."""
    monkeypatch.setattr(module, "ENOUGH", ENOUGH)
    monkeypatch.setattr(module, "RESUME_FETCHING_AT", ROOM)


def records(first: int, count: int) -> list[Source]:
    """Records with consecutive offsets from ``first`` on."""
    return [
        Source(Offset(offset), Milliseconds(0), None, None)
        for offset in range(first, first + count)
    ]


class Partition:
    """Records whether it is on hold, and runs the calls for the loop when the test does."""

    def __init__(self) -> None:
        self.calls: list[bool] = []
        self.starts: list[int] = []
        self.later: list[Callable[[], None]] = []
        self.arrivals = 0
        self.inbox = Inbox(self, self.later.append, self.arrived)

    def arrived(self) -> None:
        self.arrivals += 1

    def hold(self, on_hold: bool) -> None:  # noqa: FBT001 - the signature of the port
        self.calls.append(on_hold)

    def start_at(self, offset: int) -> None:
        self.starts.append(offset)

    def begin(self, offset: int = 0) -> Inbox:
        """Give the inbox its start, as a lane with its state does; return the inbox."""
        self.inbox.begin(Offset(offset))
        self.loop_runs()
        return self.inbox

    @property
    def is_on_hold(self) -> bool:
        return bool(self.calls) and self.calls[-1]

    def loop_runs(self) -> None:
        """Run the calls that wait for the event loop."""
        while self.later:
            self.later.pop(0)()


def test_a_full_inbox_holds_its_partition_until_it_is_half_empty() -> None:
    """A full inbox holds its partition until half is done; records in hand count, too."""
    partition = Partition()
    partition.begin()
    partition.inbox.put(records(0, ENOUGH - 1))
    assert partition.calls == []
    partition.inbox.put(records(ENOUGH - 1, 3))
    assert partition.calls == [True]
    taken = partition.inbox.take()
    assert [record.offset for record in taken] == list(range(ENOUGH + 2))
    partition.inbox.done(ENOUGH + 1 - ROOM)
    partition.loop_runs()
    assert partition.calls == [True]
    partition.inbox.done(1)
    partition.loop_runs()
    assert partition.calls == [True, False]


def test_a_stopped_inbox_accepts_no_records() -> None:
    """A stopped inbox changes no hold, because the partition may have a new owner."""
    partition = Partition()
    partition.begin()
    partition.inbox.put(records(0, ENOUGH))
    partition.inbox.done(ENOUGH)
    partition.inbox.stop()
    partition.loop_runs()
    assert partition.calls == [True]
    assert partition.inbox.take() == []


def test_a_lane_sets_the_start_offset_of_its_fetches() -> None:
    """Records before the start, and repeated records, are not taken."""
    partition = Partition()
    partition.inbox.put(records(0, 3))
    partition.begin(7)
    assert partition.starts == [7]
    partition.inbox.put(records(5, 2))
    partition.inbox.put(records(6, 3))
    partition.inbox.put(records(7, 3))
    taken = partition.inbox.take()
    assert [record.offset for record in taken] == [7, 8, 9]


def test_a_removed_lane_does_not_start_its_partition() -> None:
    """A lane that stops before the loop runs does not start the fetch of its partition."""
    partition = Partition()
    partition.inbox.begin(Offset(7))
    partition.inbox.stop()
    partition.loop_runs()
    assert partition.starts == []


def test_the_writer_is_notified_of_new_records_alone() -> None:
    """Records that were added before, or before the start of the lane, wake nobody."""
    partition = Partition()
    partition.inbox.put(records(0, 3))
    partition.begin(7)
    partition.inbox.put(records(5, 2))
    assert (partition.arrivals, partition.inbox.is_empty) == (0, True)
    partition.inbox.put(records(6, 3))
    assert (partition.arrivals, partition.inbox.is_empty) == (1, False)
    partition.inbox.done(len(partition.inbox.take()))
    assert partition.inbox.is_empty


Step = tuple[str, int]
steps: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(st.sampled_from(["fetch", "take", "loop"]), st.integers(1, ENOUGH)), max_size=60
)


@given(steps)
def test_no_record_is_lost_and_every_hold_ends(steps: list[Step]) -> None:
    """In any order of steps, order and bound hold, and an empty inbox is not on hold."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ENOUGH", ENOUGH)
        patch.setattr(module, "RESUME_FETCHING_AT", ROOM)
        partition = Partition()
        inbox, fetched, done, in_hand = partition.begin(), 0, 0, 0
        for step, count in [*steps, ("take", 0), ("loop", 0)]:
            if step == "fetch" and not partition.is_on_hold:
                again = min(count // 2, fetched)
                inbox.put(records(fetched - again, count))
                fetched += count - again
            elif step == "take":
                inbox.done(in_hand)
                in_hand = 0
                if fetched > done:
                    taken = inbox.take()
                    assert [r.offset for r in taken] == list(range(done, fetched))
                    done, in_hand = fetched, len(taken)
            else:
                partition.loop_runs()
            assert fetched - done + in_hand < 2 * ENOUGH
        inbox.done(in_hand)
        partition.loop_runs()
        assert not partition.is_on_hold
        assert partition.calls == [n % 2 == 0 for n in range(len(partition.calls))]
