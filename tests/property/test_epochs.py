"""In any order of events, an epoch makes no reader skip, repeat or reorder a record.

A model of the log as brokers and lanes write it, with the decision of `schemas.epochs` when a
shard is closed. A script of numbers selects the next event; a shorter script is a simpler one.
"""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import encode
from schemas.epochs import (
    AnyEpochRecord,
    EpochDeclared,
    Epochs,
    LaneSwitched,
    decode_epoch_record,
    epoch_key,
)
from schemas.number_types import EpochNumber

LANES = 2


class Model:
    """One recipient's records from several lanes, and the control records.

    ``records``: The content of the recipient's shard in each epoch, as (lane, number).
    """

    def __init__(self) -> None:
        self.control: list[AnyEpochRecord] = []
        self.records: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        self.progress = [0] * LANES  # of each lane, in its state: survives a crash
        # of each lane, in its process: lost in a crash
        self.seen = [Epochs() for _ in range(LANES)]
        self.read_by_lane = [0] * LANES
        self.written = [0] * LANES

    def declare(self, skip: int) -> None:
        """Declare an epoch; ``skip`` leaves numbers out, or declares an old number again."""
        newest = max((r.epoch for r in self.control if isinstance(r, EpochDeclared)), default=0)
        epoch = max(1, newest + skip)
        self.control.append(EpochDeclared(epoch=EpochNumber(epoch), shards=1, lanes=LANES))

    def learn(self, lane: int) -> None:
        """A lane's process reads one more control record."""
        if self.read_by_lane[lane] < len(self.control):
            self.seen[lane].apply(self.control[self.read_by_lane[lane]])
            self.read_by_lane[lane] += 1

    def switch(self, lane: int) -> None:
        """A lane switches to the newest known epoch, between two transactions."""
        if self.seen[lane].newest > self.progress[lane]:
            self.progress[lane] = self.seen[lane].newest
            self.control.append(LaneSwitched(lane=lane, epoch=EpochNumber(self.progress[lane])))

    def write(self, lane: int) -> None:
        """A lane writes a record in a transaction."""
        self.records[self.progress[lane]].append((lane, self.written[lane]))
        self.written[lane] += 1

    def crash(self, lane: int) -> None:
        """Another process takes the lane over, with the lane's progress only."""
        self.seen[lane], self.read_by_lane[lane] = Epochs(), 0

    def settle(self) -> None:
        """Each lane reads all control records and switches."""
        for lane in range(LANES):
            while self.read_by_lane[lane] < len(self.control):
                self.learn(lane)
            self.switch(lane)


class Reader:
    """Reads one shard after the other, as a follower does, or a sink with all its shards."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.epochs = Epochs()
        self._control = 0
        self.epoch = self.offset = 0
        self._closed_end: int | None = None
        self.got: list[tuple[int, int]] = []
        self.places: list[tuple[int, int]] = []

    def step(self, choice: int) -> None:
        """Read a control record or a record, go to the next shard, or restart from the cursor."""
        shard = self._model.records[self.epoch]
        if choice == 0 and self._control < len(self._model.control):
            self.epochs.apply(self._model.control[self._control])
            self._control += 1
        elif choice == 1 and self.offset < len(shard):
            self.got.append(shard[self.offset])
            self.places.append((self.epoch, self.offset))
            self.offset += 1
        elif choice == 2 and self.epochs.is_closed(EpochNumber(self.epoch)):
            if self._closed_end is None:
                self._closed_end = len(shard)
            following = self.epochs.after(EpochNumber(self.epoch))
            assert following is not None
            if self.offset >= self._closed_end:
                self.epoch, self.offset, self._closed_end = following, 0, None
        elif choice == 3:
            self.epochs, self._control, self._closed_end = Epochs(), 0, None

    def finish(self) -> None:
        """Read everything to the end."""
        for choice in (0, 1, 2) * (2 * len(self._model.control) + sum(self._model.written)):
            self.step(choice)


tries = settings(deadline=None, max_examples=500)
steps = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 3)), max_size=80)


@tries
@given(steps)
def test_a_reader_receives_everything_once_and_in_the_order_of_each_lane(
    script: list[tuple[int, int]],
) -> None:
    """A reader gets each record once, and the records of each lane in order.

    Lanes write, switch and crash; epochs are declared late and twice; readers restart.
    """
    model = Model()
    reader = Reader(model)
    for what, which in script:
        lane = which % LANES
        if what == 0:
            model.declare(skip=which - 1)
        elif what == 1:
            model.crash(lane)
        elif what <= 3:
            model.learn(lane)
        elif what <= 5:
            model.switch(lane)
        elif what <= 7:
            model.write(lane)
        else:
            reader.step(which)
    model.settle()
    for lane in range(LANES):
        model.write(lane)
    reader.finish()

    assert reader.places == sorted(set(reader.places))
    for lane in range(LANES):
        assert [n for by, n in reader.got if by == lane] == list(range(model.written[lane]))


@tries
@given(steps)
def test_no_record_is_written_to_a_closed_epoch(script: list[tuple[int, int]]) -> None:
    """A closed epoch gets no further record, so its end is final."""
    model = Model()
    watcher = Epochs()
    applied = 0
    closed: dict[int, int] = {}
    for what, which in script:
        lane = which % LANES
        if what == 0:
            model.declare(skip=which - 1)
        elif what == 1:
            model.crash(lane)
        elif what <= 4:
            model.learn(lane)
            model.switch(lane)
        else:
            model.write(lane)
        for record in model.control[applied:]:
            watcher.apply(record)
        applied = len(model.control)
        for epoch in range(max(model.progress) + 1):
            if watcher.is_closed(EpochNumber(epoch)):
                closed.setdefault(epoch, len(model.records[epoch]))
                assert closed[epoch] == len(model.records[epoch])


@tries
@given(steps)
def test_compacted_records_are_not_missed(script: list[tuple[int, int]]) -> None:
    """The last control record of each key gives the same epochs as all control records."""
    model = Model()
    for what, which in script:
        if what == 0:
            model.declare(skip=which - 1)
        else:
            model.learn(which % LANES)
            model.switch(which % LANES)
    whole, short = Epochs(), Epochs()
    last = {epoch_key(record): at for at, record in enumerate(model.control)}
    for at, record in enumerate(model.control):
        whole.apply(record)
        if last[epoch_key(record)] == at:
            short.apply(decode_epoch_record(encode(record)))
    assert short.newest == whole.newest
    assert short.waiting() == whole.waiting()
    for epoch in range(whole.newest + 1):
        assert short.is_closed(EpochNumber(epoch)) == whole.is_closed(EpochNumber(epoch))
        assert short.after(EpochNumber(epoch)) == whole.after(EpochNumber(epoch))
