"""Reads that share queries, in any interleaving: no answer is older than its request."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Iterator, Sequence
from itertools import cycle
from typing import Any, Final, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.store.coalescing import CoalescingStore
from gateway.store.store_port import SLICE, ConversationHead, StoredEntry
from schemas.errors import ServerUnavailable
from schemas.number_types import SeqId
from tests.support import virtual_time
from tests.support.gateway_store import FakeStore

LOW: Final = SLICE - 1
"""Ranges are around the end of a slice, so that some of them include parts of two slices."""

HIGH: Final = SLICE + 1
CONVERSATIONS: Final = ("a", "a", "a", "b")


class Moment(NamedTuple):
    """A number of events, and the value of a row from then on."""

    at: int
    value: int


class Slow(FakeStore):
    """A store whose rows are overwritten, and whose queries take turns of the loop.

    A query reads all rows in one turn between its begin and its end. ``pace`` has, for each query,
    the number of turns before and after that turn, and whether the query fails.
    """

    def __init__(self, pace: Iterator[tuple[int, int, bool]]) -> None:
        super().__init__()
        self.now = 0
        self.failed: list[int] = []
        self.begun = 0
        self._pace = pace
        self._moments: dict[tuple[str, int], list[Moment]] = {}

    def overwrite(self, conv_id: str, seq: int) -> None:
        """Give a row a new value; SeqId 0 is the head."""
        self.now += 1
        self._moments.setdefault((conv_id, seq), []).append(Moment(self.now, self.now))

    def values(self, conv_id: str, seq: int, since: int, until: int) -> set[int | None]:
        """Return all values of a row in a period."""
        row = self._moments.get((conv_id, seq), [])
        first = bisect_right(row, since, key=lambda moment: moment.at) - 1
        seen: set[int | None] = {moment.value for moment in row if since <= moment.at <= until}
        return seen | {row[first].value if first >= 0 else None}

    async def entries(self, conv_id: str, first: SeqId, last: SeqId) -> list[StoredEntry]:
        assert 0 <= last - first < SLICE
        return [
            StoredEntry(SeqId(seq), "message_sent", b"%d" % value)
            for seq, value in await self._query(conv_id, range(first, last + 1))
        ]

    async def chosen_entries(self, conv_id: str, seqs: list[SeqId]) -> list[StoredEntry]:
        assert len(seqs) <= SLICE
        return [
            StoredEntry(SeqId(seq), "message_sent", b"%d" % value)
            for seq, value in await self._query(conv_id, seqs)
        ]

    async def conversation(self, conv_id: str) -> ConversationHead | None:
        found = await self._query(conv_id, range(1))
        return ConversationHead(SeqId(found[0][1]), "push") if found else None

    async def _query(self, conv_id: str, seqs: Sequence[int]) -> list[tuple[int, int]]:
        before, after, fails = next(self._pace)
        self.begun += 1
        begun_at = self.now
        await turns(before)
        rows = [(seq, self._moments[conv_id, seq][-1].value) for seq in seqs
                if (conv_id, seq) in self._moments]  # fmt: skip
        await turns(after)
        if fails:
            self.failed.append(begun_at)
            raise ServerUnavailable("as answer_times")
        return rows


async def turns(count: int) -> None:
    """Let all other tasks run this number of times."""
    for _ in range(count):
        await asyncio.sleep(0)


class Reading(NamedTuple):
    """A read of a conversation's SeqIds, or of its head where ``first`` is 0.

    ``chosen``: Only the first and the last SeqId, in all conversations at once.
    """

    conv_id: str
    first: SeqId
    last: SeqId
    begin: int
    leave: int | None
    chosen: bool = False

    @property
    def seqs(self) -> list[SeqId]:
        """The requested SeqIds."""
        if self.chosen:
            return sorted({self.first, self.last})
        return list(map(SeqId, range(self.first, self.last + 1)))


class ReadOutcome(NamedTuple):
    """A reader's result (by SeqId; None for an error), and the times of request and answer."""

    asked: int
    answered: int
    values: dict[int, int] | None


ranges = st.tuples(st.integers(LOW, HIGH), st.integers(LOW, HIGH)).map(sorted)
readings = st.builds(
    lambda conv_id, span, begin, leave, chosen: Reading(
        conv_id, span[0], span[1], begin, leave, chosen
    ),
    st.sampled_from(CONVERSATIONS),
    st.one_of(ranges, st.just([0, 0])),
    st.integers(0, 9),
    st.one_of(st.none(), st.none(), st.integers(0, 8)),
    st.booleans(),
)
writes = st.tuples(
    st.integers(0, 12),
    st.sampled_from(CONVERSATIONS),
    st.one_of(st.just(0), st.integers(LOW, HIGH)),
)
paces = st.tuples(st.integers(0, 3), st.integers(0, 6), st.sampled_from([False, False, True]))


async def read(store: CoalescingStore, below: Slow, reading: Reading) -> ReadOutcome:
    """Run one reader; return its result."""
    await turns(reading.begin)
    asked = below.now
    try:
        values = await _values(store, reading)
    except ServerUnavailable:
        values = None
    return ReadOutcome(asked, below.now, values)


async def _values(store: CoalescingStore, reading: Reading) -> dict[int, int]:
    if reading.first == 0:
        found = await store.conversation(reading.conv_id)
        return {} if found is None else {0: found.head}
    if reading.chosen:
        together = dict.fromkeys(CONVERSATIONS, reading.seqs)
        entries = (await store.entries_of(together))[reading.conv_id]
    elif reading.first == reading.last:
        entries = await store.chosen_entries(reading.conv_id, reading.seqs)
    else:
        entries = await store.entries(reading.conv_id, reading.first, reading.last)
    seqs = [entry.seq for entry in entries]
    assert seqs == sorted(set(seqs))
    return {entry.seq: int(entry.json) for entry in entries}


async def write(below: Slow, at: int, conv_id: str, seq: int) -> None:
    """Overwrite a row after a number of turns."""
    await turns(at)
    below.overwrite(conv_id, seq)


async def leave(reader: asyncio.Task[ReadOutcome], reading: Reading) -> None:
    """Cancel a reader after a number of turns, if it leaves."""
    if reading.leave is not None:
        await turns(reading.begin + reading.leave)
        reader.cancel()


async def play(
    below: Slow, asked: list[Reading], written: list[tuple[int, str, int]]
) -> list[ReadOutcome | None]:
    """Run all readers and writers; return the results, None for cancelled readers."""
    store = CoalescingStore(below)
    readers = [asyncio.create_task(read(store, below, one)) for one in asked]
    others: list[Awaitable[Any]] = [write(below, *one) for one in written]
    others += [leave(reader, one) for reader, one in zip(readers, asked, strict=True)]
    await asyncio.gather(*others)
    await asyncio.wait(readers, timeout=20)
    await turns(3)
    assert len(store._turns) == 0  # noqa: SLF001 - nothing is left; not visible otherwise
    assert asyncio.all_tasks() == {asyncio.current_task()}
    for reader, one in zip(readers, asked, strict=True):
        assert not reader.cancelled() or one.leave is not None, "somebody else's leaving"
    return [None if reader.cancelled() else reader.result() for reader in readers]


@settings(max_examples=300)
@given(
    st.lists(readings, min_size=1, max_size=12),
    st.lists(writes, max_size=20),
    st.lists(paces, min_size=1, max_size=8),
)
def test_an_answer_was_current_between_call_and_return(
    asked: list[Reading], written: list[tuple[int, str, int]], pace: list[tuple[int, int, bool]]
) -> None:
    """Each row of an answer had its value at a time between the request and the answer.

    Rows are overwritten, as heads, missing entries and recalled entries are. A reader never gets
    another reader's cancellation, and gets an error only from a query that began after its
    request. No query or task is left at the end.
    """
    below = Slow(cycle(pace))
    for one, answer_times in zip(
        asked, virtual_time.run(play(below, asked, written)), strict=True
    ):
        if answer_times is None:
            continue
        if answer_times.values is None:
            assert any(answer_times.asked <= begun for begun in below.failed)
            continue
        for seq in one.seqs:
            possible = below.values(one.conv_id, seq, answer_times.asked, answer_times.answered)
            assert answer_times.values.get(seq) in possible
        assert set(answer_times.values) <= set(one.seqs)
    assert below.begun <= sum(
        (1 + (one.first < SLICE <= one.last)) * (1 + one.chosen) for one in asked
    )


async def crowd(below: Slow, spans: list[tuple[int, int]]) -> list[dict[int, int]]:
    """Read ranges of one conversation, all requested in one turn of the loop."""
    store = CoalescingStore(below)
    reads = (store.entries("a", SeqId(first), SeqId(last)) for first, last in spans)
    return [
        {entry.seq: int(entry.json) for entry in found} for found in await asyncio.gather(*reads)
    ]


@given(st.lists(ranges.map(tuple), min_size=1, max_size=40))
def test_many_equal_requests_send_two_queries_for_a_slice(spans: list[tuple[int, int]]) -> None:
    """Any number of simultaneous, overlapping reads makes at most two queries for each slice.

    Each reader gets exactly its own range.
    """
    below = Slow(cycle([(2, 2, False)]))
    for seq in range(LOW, HIGH + 1):
        below.overwrite("a", seq)
    there = {seq: seq - LOW + 1 for seq in range(LOW, HIGH + 1)}
    for span, found in zip(spans, virtual_time.run(crowd(below, spans)), strict=True):
        assert found == {seq: there[seq] for seq in range(span[0], span[1] + 1)}
    assert below.begun <= 4  # two slices
