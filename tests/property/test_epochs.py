"""Whatever order things happen in, nobody is read past, twice, or out of order by an epoch.

A model of the log as brokers and lanes make it, with the one decision of `schemas.epochs` in it:
when a shard is closed. A script of numbers says what happens next; a shorter one is a simpler one.
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

LANES = 2


class Model:
    """One recipient's records, from several lanes, and readers of different kinds.

    ``records``: by epoch, what the recipient's shard holds, as (lane, number).
    """

    def __init__(self) -> None:
        self.control: list[AnyEpochRecord] = []
        self.records: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        self.progress = [0] * LANES  # of each lane, in its state: survives a crash
        self.seen = [Epochs() for _ in range(LANES)]  # what its process knows: does not
        self.read_by_lane = [0] * LANES
        self.written = [0] * LANES

    def declare(self, skip: int) -> None:
        """Somebody reshards; ``skip`` leaves numbers out, or comes too late with a lower one."""
        newest = max((r.epoch for r in self.control if isinstance(r, EpochDeclared)), default=0)
        epoch = max(1, newest + skip)
        self.control.append(EpochDeclared(epoch=epoch, shards=1, lanes=LANES))

    def learn(self, lane: int) -> None:
        """A lane's process reads one more control record, and the lane switches, or not yet."""
        if self.read_by_lane[lane] < len(self.control):
            self.seen[lane].apply(self.control[self.read_by_lane[lane]])
            self.read_by_lane[lane] += 1

    def switch(self, lane: int) -> None:
        """Between two transactions, in one of its own."""
        if self.seen[lane].newest > self.progress[lane]:
            self.progress[lane] = self.seen[lane].newest
            self.control.append(LaneSwitched(lane=lane, epoch=self.progress[lane]))

    def write(self, lane: int) -> None:
        """A transaction."""
        self.records[self.progress[lane]].append((lane, self.written[lane]))
        self.written[lane] += 1

    def crash(self, lane: int) -> None:
        """Another process takes the lane over, and knows its progress only."""
        self.seen[lane], self.read_by_lane[lane] = Epochs(), 0

    def settle(self) -> None:
        """Everybody learns everything."""
        for lane in range(LANES):
            while self.read_by_lane[lane] < len(self.control):
                self.learn(lane)
            self.switch(lane)


class Reader:
    """Goes from shard to shard as a follower does, and a sink for all its shards together."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.epochs = Epochs()
        self._control = 0
        self.epoch = self.offset = 0
        self._closed_end: int | None = None
        self.got: list[tuple[int, int]] = []
        self.places: list[tuple[int, int]] = []

    def step(self, choice: int) -> None:
        """Reads a control record, or a record, or goes on; restarts from its cursor."""
        shard = self._model.records[self.epoch]
        if choice == 0 and self._control < len(self._model.control):
            self.epochs.apply(self._model.control[self._control])
            self._control += 1
        elif choice == 1 and self.offset < len(shard):
            self.got.append(shard[self.offset])
            self.places.append((self.epoch, self.offset))
            self.offset += 1
        elif choice == 2 and self.epochs.is_closed(self.epoch):
            if self._closed_end is None:
                self._closed_end = len(shard)
            following = self.epochs.after(self.epoch)
            assert following is not None
            if self.offset >= self._closed_end:
                self.epoch, self.offset, self._closed_end = following, 0, None
        elif choice == 3:
            self.epochs, self._control, self._closed_end = Epochs(), 0, None

    def finish(self) -> None:
        """Reads all that there is."""
        for choice in (0, 1, 2) * (2 * len(self._model.control) + sum(self._model.written)):
            self.step(choice)


tries = settings(deadline=None, max_examples=500)
steps = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 3)), max_size=80)


@tries
@given(steps)
def test_a_reader_gets_everything_once_and_in_each_lanes_order(
    script: list[tuple[int, int]],
) -> None:
    """Lanes write, switch and crash, epochs are declared late and twice, readers restart."""
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
def test_nothing_comes_to_a_closed_epoch(script: list[tuple[int, int]]) -> None:
    """Whoever finds an epoch closed can take its end for the last."""
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
            if watcher.is_closed(epoch):
                closed.setdefault(epoch, len(model.records[epoch]))
                assert closed[epoch] == len(model.records[epoch])


@tries
@given(steps)
def test_what_is_compacted_away_is_not_missed(script: list[tuple[int, int]]) -> None:
    """The broker keeps the last control record of each key: those say as much as all."""
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
        assert short.is_closed(epoch) == whole.is_closed(epoch)
        assert short.after(epoch) == whole.after(epoch)
