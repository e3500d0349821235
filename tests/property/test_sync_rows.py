"""After any crashes, overlaps and replays of sinks, a reader of their rows misses no record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest
from cassandra import InvalidRequest, OperationTimedOut
from cassandra.cluster import Session
from hypothesis import event, given
from hypothesis import strategies as st

from schemas.codec import encode
from schemas.errors import TransientFailure
from schemas.limits import SYNC_BUCKET
from schemas.number_types import Offset
from schemas.recipients import recipients_key, recipients_of
from schemas.settings import Settings
from schemas.sync_rows import decode_row, references
from sinks.base.records import Record
from sinks.cassandra import sync_parts, sync_places, sync_requests
from sinks.cassandra.sync_late import LateSyncWriter
from sinks.cassandra.sync_places import sort_out
from sinks.cassandra.sync_writer import SyncWriter
from tests.support.fake_cassandra import FakeSession, Sent
from tests.support.killing import Killed
from tests.support.sink_stores import Conversation
from tests.support.sync_rows import SyncRows

USERS = ("ann", "bob", "cid", "dan")
FIRST = SYNC_BUCKET - 12
"""The timelines are in two buckets."""

REFUSED = 5
"""Cassandra refuses the rows of records with this SeqId."""

UNKNOWN = 6
"""The sink does not know the kind of records with this SeqId."""


class Process(FakeSession):
    """The session of one process. A request is answered, lost, or the last one of the process.

    Args:
        rows: The table of all processes.
        script: One number for each request: 1 loses the request, 2 loses the answer, 3 ends the
            process before the request, 4 after it. After the end of the script there are no
            faults.
        repaired: Whether Cassandra accepts every row.
    """

    def __init__(self, rows: SyncRows, script: list[int], *, repaired: bool = False) -> None:
        super().__init__()
        self._rows = rows
        self.script: Iterator[int] = iter(script)
        self._repaired = repaired

    def execute(self, query: Any, parameters: Any = ("", "")) -> Any:
        """Answer also the query for the first row from a sync SeqId on."""
        if "FROM sync WHERE" not in getattr(query, "query_string", ""):
            return super().execute(query, parameters)
        user, bucket, lowest = parameters
        held = self._rows.rows[user]
        above = [key for key in held if key >= lowest and key // SYNC_BUCKET == bucket]
        found = (min(above), held[min(above)]) if above else None
        return SimpleNamespace(one=lambda: found)

    def execute_async(self, statement: Any) -> Any:
        """Send one batch, with the next fault of the script."""
        sent = self._decoded(statement)
        choice = next(self.script, 0)
        if choice == 3:
            raise Killed
        error = OperationTimedOut() if choice == 1 else self._apply(sent)
        if choice == 4:
            raise Killed
        error = error or (OperationTimedOut() if choice == 2 else None)

        def add_callbacks(
            success: Callable[[object], None],
            failure: Callable[..., None],
            errback_args: tuple[Any, ...],
        ) -> None:
            if error is None:
                success(None)
            else:
                failure(error, *errback_args)

        return SimpleNamespace(add_callbacks=add_callbacks)

    def _apply(self, sent: Sent) -> Exception | None:
        rows = [row for row in sent.rows if "records" in row]
        held = [r for row in rows for r in references(decode_row(row["records"]))]
        if not self._repaired and any(reference.seq == REFUSED for reference in held):
            refusal: Exception = InvalidRequest("no")
            return refusal
        for row in rows:
            self._rows.put(row["user_id"], row["sync_seq"], row["records"])
        return None


class Run(NamedTuple):
    """Some batches of a process.

    ``resumes``: The index of a living process that continues, counted from the latest; with fewer
    processes a new one starts. ``back``: The number of commits before the last one at which a new
    process starts. ``batches``: Lengths of the batches. ``script``: See `Process`. ``commits``:
    Whether durable records are committed.
    """

    resumes: int
    back: int
    batches: list[int]
    script: list[int]
    commits: bool


runs = st.builds(
    Run,
    st.integers(0, 5),
    st.integers(0, 12),
    st.lists(st.integers(1, 9), max_size=6),
    st.lists(st.sampled_from([0, 0, 0, 0, 0, 1, 2, 3, 4]), max_size=12),
    st.booleans(),
)
keys = st.lists(st.sampled_from(USERS), min_size=1, max_size=4, unique=True)
logs = st.lists(st.tuples(keys, st.integers(1, 9)), min_size=1, max_size=25)


class World:
    """A log, the rows of the processes, and their committed position."""

    def __init__(self, log: list[tuple[list[str], int]]) -> None:
        said = Conversation("c").said
        self.log = [
            Record(0, Offset(FIRST + at), recipients_key(users), encode(said(seq, "hi")))
            for at, (users, seq) in enumerate(log)
        ]
        seqs = [seq for _, seq in log]
        self.poison = {FIRST + at for at, seq in enumerate(seqs) if seq in {REFUSED, UNKNOWN}}
        self.unknown = {FIRST + at for at, seq in enumerate(seqs) if seq == UNKNOWN}
        self.rows = SyncRows()
        self.committed = 0
        self.starts = [0]
        """Positions of all commits, where a process may have started."""
        self.living: list[tuple[SyncWriter, Process, int]] = []

    def run(self, run: Run) -> None:
        """Run a process until it is killed or has no more batches."""
        if run.resumes < len(self.living):
            event("resumed")
            writer, session, place = self.living.pop(-1 - run.resumes)
            session.script = iter(run.script)
        else:
            session = Process(self.rows, run.script)
            writer = SyncWriter(cast("Session", session), Settings())
            place = self.starts[-1 - min(run.back, len(self.starts) - 1)]
        for length in run.batches:
            batch = [self._now(record) for record in self.log[place : place + length]]
            try:
                self._deliver(writer, batch)
            except Killed:
                event("killed")
                return
            place += len(batch)
            if run.commits and place > self.committed:
                self.committed = place
                self.starts.append(place)
            self.check()
        self.living.append((writer, session, place))

    def _now(self, record: Record) -> Record:
        """A record as a sink without the new kind reads it."""
        if record.offset not in self.unknown:
            return record
        return Record(0, record.offset, record.key, b'{"kind":"new","conv_id":"c","seq":6}')

    def _deliver(self, writer: SyncWriter, batch: list[Record]) -> None:
        while True:
            try:
                outcome = writer.write(batch)
            except TransientFailure:
                event("written again")
                self.check()
                continue
            assert not outcome.to_retry
            assert {batch[found.index].offset for found in outcome.poison} == {
                record.offset for record in batch if record.offset in self.poison
            }
            return

    def check(self) -> None:
        """At any cursor, a reader gets all committed records, in order and without a hole."""
        for user in USERS:
            mine = [
                record.offset
                for record in self.log
                if user.encode() in recipients_of(record.key or b"")
                and record.offset not in self.poison
            ]
            below = FIRST - 1
            for key, records in sorted(self.rows.rows[user].items()):
                held = {reference.sync_seq for reference in references(decode_row(records))}
                assert max(held) == key
                assert held >= {each for each in mine if below < each <= key}
                below = key
            assert all(each <= below for each in mine if each < FIRST + self.committed)
            for after in (FIRST - 1, *mine[::3]):
                assert self.rows.read(user, after) == [e for e in mine if after < e <= below]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that a short log exceeds."""
    monkeypatch.setattr(sync_parts, "MAX_REFERENCES", 3)
    monkeypatch.setattr(sync_parts, "MAX_PART_BYTES", 120)
    monkeypatch.setattr(sync_places, "MAX_DELIVERIES", 14)
    monkeypatch.setattr(sync_requests, "MAX_STATEMENTS", 4)


@given(logs, st.lists(runs, max_size=8))
def test_no_reader_misses_a_record(log: list[tuple[list[str], int]], history: list[Run]) -> None:
    """No record is missing after any batch of any process, with crashes and overlaps.

    At the end a process writes the rest, and late records are added to the rows above them.
    """
    world = World(log)
    for run in history:
        world.run(run)
        world.check()
    world.run(Run(len(world.living), 0, [3] * len(log), [], commits=True))
    assert world.committed == len(log)
    world.check()
    session = Process(world.rows, [], repaired=True)
    late = LateSyncWriter(SyncWriter(cast("Session", session), Settings()))
    for record in [each for each in world.log if each.offset in world.poison]:
        assert not late.write([record]).poison
        world.poison.remove(record.offset)
        world.check()


@given(logs, st.lists(st.tuples(st.sampled_from(USERS), st.integers(0, 30)), max_size=8))
def test_lost_rows_are_added_again(
    log: list[tuple[list[str], int]], lost: list[tuple[str, int]]
) -> None:
    """Whatever rows a store has lost, a reader misses no record after they are added again."""
    world = World(log)
    world.poison = set()
    world.unknown = set()
    session = Process(world.rows, [], repaired=True)
    writer = SyncWriter(cast("Session", session), Settings())
    for at in range(0, len(world.log), 4):
        writer.write(world.log[at : at + 4])
    for user, number in lost:
        rows = world.rows.rows[user]
        if rows:
            del rows[sorted(rows)[number % len(rows)]]
    late = LateSyncWriter(writer)
    for user in USERS:
        there = set(world.rows.read(user))
        places = sort_out(world.log, range(len(world.log))).by_key
        mine = [
            place
            for key, of_key in places.items()
            if user.encode() in recipients_of(key)
            for place in of_key
            if place.sync_seq not in there
        ]
        assert late.add(user.encode(), mine) == []
    world.committed = len(log)
    world.check()
