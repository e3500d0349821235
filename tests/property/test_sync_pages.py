"""Pages of a sync timeline, with any cuts: each record exactly once, in order."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from itertools import cycle
from typing import Final, Literal, NamedTuple, TypeAlias
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from gateway.reads import sync_back
from gateway.reads import sync_page as sync
from gateway.reads.sync_back import read_sync_back
from gateway.reads.sync_merge import ascending, descending
from gateway.reads.sync_page import read_sync
from gateway.store.store_port import StoredRow
from schemas.buckets import sync_bucket
from schemas.codec import encode
from schemas.errors import ServerUnavailable
from schemas.http.answers import SyncPage
from schemas.limits import MAX_SEQ, SYNC_BUCKET
from schemas.number_types import BucketNumber, SeqId, SyncSeqId
from schemas.records import MessageSent, NotStoredHole, RecalledHole
from schemas.sync_rows import SyncRow, encode_row, references
from tests.support.gateway_store import FakeStore, key_of, message

untimed = settings(deadline=None)
"""The time of an example depends on the load of the machine."""

LISTED_AHEAD: Final = 3
PROCESSES: Final = 3
PLACE_BITS: Final = 3
"""The logarithm to base 2 of the number of sync SeqIds in a bucket that the tests use."""

Action: TypeAlias = Literal["flush", "commit", "restart"]

record_seqs = st.sets(
    st.builds(
        lambda bucket, at: bucket * SYNC_BUCKET + at,
        st.integers(0, 30),
        st.integers(0, 2**PLACE_BITS - 1),
    ),
    max_size=40,
).map(sorted)
sink_steps = st.lists(
    st.tuples(
        st.integers(0, PROCESSES - 1),
        st.sampled_from(("flush", "flush", "commit", "restart")),
        st.integers(1, 7),
    ),
    max_size=25,
)
any_limit = st.integers(1, 9)
any_bytes = st.integers(1, 1_500)


def reference_of(sync_seq: int) -> tuple[str, int] | None:
    """The entry of a record in these tests; None for a reply."""
    bucket, at = divmod(sync_seq, SYNC_BUCKET)
    conv_id = ("c", "d", "e", None)[at % 4]
    return None if conv_id is None else (conv_id, (bucket << PLACE_BITS) + at + 1)


def entry_of(sync_seq: int, conv_id: str, seq: int) -> MessageSent:
    """The entry of a record, with one of many sizes."""
    return message(conv_id, seq, text="x" * (sync_seq % 400))


def reply_of(sync_seq: int) -> Raw:
    """A reply, with one of two sizes."""
    return Raw(b"1" * (700 if sync_seq % 2 else 7))


def row_of(part: Sequence[int]) -> SyncRow:
    """The row of one flush with records of one bucket."""
    row = SyncRow(entries={}, replies={})
    for sync_seq in part:
        entry = reference_of(sync_seq)
        if entry is None:
            row.replies[SyncSeqId(sync_seq)] = reply_of(sync_seq)
        else:
            row.entries.setdefault(entry[0], []).extend((sync_seq, entry[1]))
    return row


def written(seqs: Sequence[int], steps: Sequence[tuple[int, Action, int]]) -> list[SyncRow]:
    """The rows that processes of the sink write, in order, until all records are in rows.

    A process starts at the committed position and flushes the next records. A process that lost
    its partition may continue for a time next to the new owner. A commit never moves back.
    """
    committed, places, rows = 0, [0] * PROCESSES, []
    last: list[tuple[int, Action, int]] = [(0, "restart", 0), (0, "flush", len(seqs))]
    for process, action, count in [*steps, *last]:
        if action == "restart":
            places[process] = committed
        elif action == "commit":
            committed = max(committed, places[process])
        else:
            begin = places[process]
            part = seqs[begin : begin + count]
            places[process] += len(part)
            for _, of_bucket in itertools.groupby(part, lambda seq: seq // SYNC_BUCKET):
                rows.append(row_of(list(of_bucket)))
    return rows


def put_entry(store: FakeStore, sync_seq: int) -> None:
    """Write the entry of a record, and the head of its conversation."""
    entry = reference_of(sync_seq)
    if entry is not None:
        store.put_message(entry_of(sync_seq, *entry))
        store.put_conversation(*entry)


def store_of(seqs: Sequence[int], rows: Sequence[SyncRow]) -> FakeStore:
    """A store with rows of ann, all entries, and rows of bob."""
    store = FakeStore()
    for row in rows:
        store.put_row("ann", row)
    for seq in seqs:
        put_entry(store, seq)
        store.put_record("bob", seq + 1, b"0")
    return store


class Timeline(NamedTuple):
    """Sync SeqIds and their rows, in the order of writes."""

    seqs: list[int]
    rows: list[SyncRow]


timelines = st.builds(
    lambda seqs, steps: Timeline(seqs, written(seqs, steps)), record_seqs, sink_steps
)


def repaired(
    seqs: Sequence[int], steps: Sequence[tuple[int, Action, int]], late: Sequence[int]
) -> Timeline:
    """A timeline with replayed dead letters: each is added to the row above it."""
    after = {seqs[place] for place in late if place < len(seqs)}
    rows = {key_of(row): row for row in written([s for s in seqs if s not in after], steps)}
    for seq in sorted(after):
        above = [key for key in rows if key > seq and key // SYNC_BUCKET == seq // SYNC_BUCKET]
        if above:
            held = [each.sync_seq for each in references(rows[min(above)])]
            rows[min(above)] = row_of(sorted([*held, seq]))
        else:
            rows[seq] = row_of([seq])
    return Timeline(list(seqs), list(rows.values()))


repaired_timelines = st.builds(
    repaired, record_seqs, sink_steps, st.lists(st.integers(0, 39), max_size=4)
)


@given(
    st.sets(st.integers(0, 30)).map(sorted),
    sink_steps,
    st.integers(0, 40),
    st.integers(-1, 31),
    st.integers(1, 5),
)
def test_overlapping_rows_return_each_reference_once(
    seqs: list[int], steps: list[tuple[int, Action, int]], cut: int, place: int, slice_size: int
) -> None:
    """At any time of the sink's work, slices from any position have each reference once.

    The slices go forwards and backwards.
    """
    now = written(seqs, steps)[:cut]
    rows = {
        key_of(row): StoredRow(SyncSeqId(key_of(row)), encode_row(row).decode()) for row in now
    }
    there = [seq for seq in seqs if rows and seq <= max(rows)]
    keys = sorted(rows)

    upwards: list[int] = []
    while part := [rows[key] for key in keys if key > (upwards or [place])[-1]][:slice_size]:
        upwards += [each.sync_seq for each in ascending(part, SyncSeqId((upwards or [place])[-1]))]
    assert upwards == [seq for seq in there if seq > place]

    above = [key for key in keys if key >= place][:1]
    below = [key for key in reversed(keys) if key < place]
    downwards: list[int] = []
    for begin in range(0, len(above) + len(below), slice_size):
        part_keys = [*above, *below][begin : begin + slice_size + 1]
        under = part_keys.pop() if len(part_keys) > slice_size else -1
        found = descending([rows[key] for key in part_keys], SyncSeqId(place), SyncSeqId(under))
        downwards += [each.sync_seq for each in found]
    assert downwards == [seq for seq in reversed(there) if seq < place]


def assert_bounded(page: SyncPage, limit: int) -> None:
    """A page is within the limits of records and of bytes, unless it has one record."""
    assert len(page.records) <= limit
    sizes = [len(bytes(each.record)) for each in page.records]
    assert len(sizes) < 2 or sum(sizes) <= sync.MAX_PAGE_BYTES


async def all_sync(store: FakeStore, after: int, limit: int) -> list[int]:
    """Read all pages; return the sync SeqIds, after a check of the records."""
    seqs: list[int] = []
    while True:
        page, awaited = await read_sync(store, "ann", SyncSeqId(after), limit)
        assert_bounded(page, limit)
        seqs += shown(page)
        assert page.next >= after
        assert page.next > after or not page.more
        assert awaited == -1 or (awaited > page.next and not page.more)
        after = page.next
        if not page.more:
            return seqs


def shown(page: SyncPage) -> list[int]:
    """Return the sync SeqIds of a page, after a check of its records."""
    for sync_seq, record in ((each.sync_seq, each.record) for each in page.records):
        entry = reference_of(sync_seq)
        if entry is None:
            assert bytes(record) == bytes(reply_of(sync_seq))
        else:
            assert bytes(record) == encode(entry_of(sync_seq, *entry))
    return [each.sync_seq for each in page.records]


async def all_sync_back(store: FakeStore, before: int, limit: int) -> list[int]:
    """Read all pages backwards, with retries; return the sync SeqIds."""
    seqs: list[int] = []
    while True:
        try:
            page = await read_sync_back(store, "ann", SyncSeqId(before), limit)
        except ServerUnavailable:
            assert isinstance(store, Arriving)
            store.arrive(0, 1)
            continue
        assert_bounded(page, limit)
        seqs += shown(page)
        assert page.next < before or not page.more
        before = page.next
        if not page.more:
            return seqs


@untimed
@given(
    repaired_timelines, st.integers(-1, 31 * SYNC_BUCKET), any_limit, any_bytes, st.integers(1, 3)
)
def test_sync_returns_each_record_once(
    timeline: Timeline, after: int, limit: int, page_bytes: int, slice_size: int
) -> None:
    """All pages from any cursor have each record above it once, in order, and no others."""
    store = store_of(*timeline)
    with (
        patch.object(sync, "MAX_PAGE_BYTES", page_bytes),
        patch.object(sync, "MAX_BUCKETS", 3),
        patch.object(sync, "SLICE", slice_size),
    ):
        found = asyncio.run(all_sync(store, after, limit))
    assert found == [seq for seq in timeline.seqs if seq > after]


@untimed
@given(
    repaired_timelines,
    st.one_of(st.integers(0, 32 * SYNC_BUCKET), st.just(MAX_SEQ), st.integers(0, 20)),
    any_limit,
    any_bytes,
    st.integers(1, 3),
)
def test_reading_sync_backwards_returns_each_record_once(
    timeline: Timeline, before: int, limit: int, page_bytes: int, slice_size: int
) -> None:
    """All pages backwards have each record below the start once, in descending order."""
    store = store_of(*timeline)
    with (
        patch.object(sync, "MAX_PAGE_BYTES", page_bytes),
        patch.object(sync_back, "MAX_BUCKETS", 3),
        patch.object(sync_back, "SLICE", slice_size),
    ):
        found = asyncio.run(all_sync_back(store, before, limit))
    assert found == [seq for seq in reversed(timeline.seqs) if seq < before]


@untimed
@given(repaired_timelines, st.data(), any_limit, any_limit)
def test_forward_and_backward_pages_meet(
    timeline: Timeline, data: st.DataObject, back: int, onwards: int
) -> None:
    """From any position, the pages backwards and forwards together are the timeline."""
    near = [seq + step for seq in timeline.seqs for step in (-1, 0)]
    at = data.draw(st.sampled_from([-1, *near]))
    store = store_of(*timeline)
    before = asyncio.run(all_sync_back(store, at + 1, back))
    assert before[::-1] + asyncio.run(all_sync(store, at, onwards)) == timeline.seqs


class Arriving(FakeStore):
    """A store that two sinks fill during the reads: rows in order, and entries before heads.

    Buckets are listed a few rows ahead, as by the sink.

    Args:
        timeline: The records that the sinks write.
        order: Entries arrive in their order, or one conversation after the other.
        there: The numbers of rows and of entries at first.
        pace: The numbers of rows and of entries that arrive before each read.
    """

    def __init__(
        self,
        timeline: Timeline,
        order: Literal["as sequenced", "by conversation"],
        there: tuple[int, int],
        pace: list[tuple[int, int]],
    ) -> None:
        super().__init__()
        self.timeline = timeline
        self._waiting_rows = timeline.rows
        self._waiting_entries = timeline.seqs
        if order == "by conversation":
            self._waiting_entries = sorted(timeline.seqs, key=lambda seq: -(seq % SYNC_BUCKET % 4))
        self._pace = cycle(pace)
        self.arrive(*there)

    def arrive(self, rows: int, entries: int) -> None:
        """Let the next rows and entries arrive."""
        for row in self._waiting_rows[:rows]:
            self.put_row("ann", row)
        for seq in self._waiting_entries[:entries]:
            put_entry(self, seq)
        self._waiting_rows = self._waiting_rows[rows:]
        self._waiting_entries = self._waiting_entries[entries:]

    def arrive_all(self) -> None:
        """Let everything arrive."""
        self.arrive(len(self._waiting_rows), len(self._waiting_entries))

    async def sync_buckets(self, user: str, first: BucketNumber, limit: int) -> list[BucketNumber]:
        there = await super().sync_buckets(user, first, limit)
        ahead = {sync_bucket(SyncSeqId(key_of(row))) for row in self._waiting_rows[:LISTED_AHEAD]}
        return sorted({*there, *(bucket for bucket in ahead if bucket >= first)})[:limit]

    async def sync_rows_back(
        self, user: str, bucket: BucketNumber, before: SyncSeqId, limit: int
    ) -> list[StoredRow]:
        for _ in range(next(self._pace)[0]):  # of simultaneous reads, any one may be the first
            await asyncio.sleep(0)
        return await super().sync_rows_back(user, bucket, before, limit)

    def _check(self) -> None:
        super()._check()
        self.arrive(*next(self._pace))


arriving = st.builds(
    Arriving,
    timelines,
    st.sampled_from(("as sequenced", "by conversation")),
    st.tuples(st.integers(0, 60), st.integers(0, 40)),
    st.one_of(
        st.just([(0, 0)]),
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=20),
    ),
)


@untimed
@given(arriving, any_limit, st.integers(1, 3))
def test_sync_misses_no_record_that_arrives_during_reading(
    store: Arriving, limit: int, slice_size: int
) -> None:
    """A cursor passes no record whose row or entry arrives later."""
    found: list[int] = []
    with patch.object(sync, "MAX_BUCKETS", 40), patch.object(sync, "SLICE", slice_size):
        for _ in range(5):
            found += asyncio.run(all_sync(store, found[-1] if found else -1, limit))
        store.arrive_all()
        found += asyncio.run(all_sync(store, found[-1] if found else -1, limit))
    assert found == store.timeline.seqs


@untimed
@given(arriving, any_limit, st.integers(1, 3))
def test_reading_sync_backwards_has_no_hole_during_arrivals(
    store: Arriving, limit: int, slice_size: int
) -> None:
    """Pages backwards have no hole below their first record; the others are forwards from it."""
    seqs = store.timeline.seqs
    with patch.object(sync_back, "MAX_BUCKETS", 40), patch.object(sync_back, "SLICE", slice_size):
        found = asyncio.run(all_sync_back(store, MAX_SEQ, limit))
    newest = found[0] if found else -1
    assert found == [seq for seq in reversed(seqs) if seq <= newest]
    store.arrive_all()
    later = asyncio.run(all_sync(store, newest, limit))
    assert later == [seq for seq in seqs if seq > newest]


@untimed
@given(timelines, st.sets(st.integers(0, 3)), st.sets(st.integers(0, 3)), any_limit)
def test_refused_and_recalled_entries_are_holes(
    timeline: Timeline, refused: set[int], recalled: set[int], limit: int
) -> None:
    """An entry that the store refused is a hole, and so is a recalled one."""
    store = FakeStore()
    expected: dict[int, bytes] = {}
    for row in timeline.rows:
        store.put_row("ann", row)
    for seq in timeline.seqs:
        entry = reference_of(seq)
        if entry is None:
            expected[seq] = bytes(reply_of(seq))
            continue
        conv_id, entry_seq = entry
        expected[seq] = encode(message(*entry))
        if entry_seq % 5 in refused:
            expected[seq] = encode(NotStoredHole(conv_id=conv_id, seq=SeqId(entry_seq)))
        else:
            store.put_message(message(*entry))
            if entry_seq % 5 in recalled:
                store.put_recall(conv_id, entry_seq + 1, entry_seq)
                expected[seq] = encode(RecalledHole(conv_id=conv_id, seq=SeqId(entry_seq)))
        store.put_conversation(*entry)
    page, _ = asyncio.run(read_sync(store, "ann", SyncSeqId(-1), limit))
    assert {each.sync_seq: bytes(each.record) for each in page.records} == dict(
        list(expected.items())[:limit]
    )
