"""A reader gets all records above the cursor, or the answer that some have expired.

The store in these tests deletes each record at the second of its expiry, as Cassandra does.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import NamedTuple
from unittest.mock import patch

from hypothesis import event, given
from hypothesis import strategies as st

from gateway.reads import sync_page as sync
from gateway.reads.sync_page import read_sync, sync_end
from schemas.errors import Trimmed
from schemas.lifetime import retention_times
from schemas.number_types import SyncSeqId
from tests.support.gateway_store import FakeStore

AGES = st.integers(0, 400)
MAX_INTERVALS = 17
"""For a lifetime of 15 seconds with retention intervals of one second."""


class Written(NamedTuple):
    """A record, and the times (s) of a sink's writes: more than one after a replay."""

    sync_seq: int
    times: list[int]


class Timeline(NamedTuple):
    """A sync timeline with its lifetime (s)."""

    lifetime: int
    records: list[Written]

    def store(self, now: int) -> FakeStore:
        """The store at this time, after all writes of the sink."""
        store, retention = FakeStore(), retention_times(timedelta(seconds=self.lifetime))
        for sync_seq, times in self.records:
            past = [time for time in times if time <= now]
            for time in past:
                since = retention.since(time)
                store.put_expiry("ann", since, since + retention.surely, sync_seq)
            if past and now < max(past) + retention.ttl:
                store.put_record("ann", sync_seq, b"1")
        return store

    def missed(self, after: int, now: int) -> list[Written]:
        """The records above a cursor at this time, with the expired ones."""
        return [r for r in self.records if r.sync_seq > after and r.times[0] <= now]


@st.composite
def timelines(draw: st.DrawFn) -> Timeline:
    """Draw records in the order of their first writes; some runs are written again later."""
    lifetime = draw(st.integers(1, 100))
    steps = draw(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9_000)), max_size=40))
    records, time, place = [], 1_000, 0
    for pause, further in steps:
        time, place = time + pause, place + further
        records.append(Written(place, [time]))
        if draw(st.integers(0, 9)) == 0:
            time += draw(st.integers(0, lifetime))
            for again in records[-draw(st.integers(1, 5)) :]:
                again.times.append(time)
    return Timeline(lifetime, records)


async def all_records(store: FakeStore, after: int, now: int) -> list[int]:
    """Read all pages; return the sync SeqIds."""
    found: list[int] = []
    while True:
        page, _ = await read_sync(store, "ann", SyncSeqId(after), 3, lambda: now)
        found += [record.sync_seq for record in page.records]
        after = page.next
        if not page.more:
            return found


async def answered(store: FakeStore, after: int, now: int) -> list[int] | Trimmed:
    """Read all pages; return the sync SeqIds, or the error."""
    try:
        return await all_records(store, after, now)
    except Trimmed as trimmed:
        return trimmed


@given(timelines(), st.integers(0, 100_000), AGES)
def test_a_device_receives_all_records_or_trimmed(
    timeline: Timeline, after: int, age: int
) -> None:
    """The answer has no hole, and a reader without a loss gets no problem.

    Only a reader that misses a record older than a lifetime gets the problem.
    """
    now = (timeline.records[-1].times[-1] if timeline.records else 1_000) + age
    missed = timeline.missed(after, now)
    with patch.object(sync, "EXPIRIES", MAX_INTERVALS + 1):
        answer = asyncio.run(answered(timeline.store(now), after, now))
    if isinstance(answer, Trimmed):
        event("trimmed")
        cursor, oldest = answer.cursor, answer.oldest
        assert cursor == after
        assert any(r.sync_seq < oldest and r.times[0] < now - timeline.lifetime for r in missed)
        # All records from there on are retained.
        rest = asyncio.run(all_records(timeline.store(now), oldest - 1, now))
        assert rest == [r.sync_seq for r in missed if r.sync_seq >= oldest]
    else:
        event("all" if missed else "nothing")
        assert answer == [r.sync_seq for r in missed]


@given(timelines(), AGES)
def test_a_new_device_receives_a_complete_end_of_the_timeline(
    timeline: Timeline, age: int
) -> None:
    """A new device gets no problem, and records without a hole that include the last lifetime."""
    now = (timeline.records[-1].times[-1] if timeline.records else 1_000) + age
    found = asyncio.run(all_records(timeline.store(now), -1, now))
    there = [r.sync_seq for r in timeline.missed(-1, now)]
    assert found == there[len(there) - len(found) :]
    young = {r.sync_seq for r in timeline.records if r.times[0] >= now - timeline.lifetime}
    first_young = min(young, default=0)
    assert not young or first_young in found


@given(timelines(), AGES, st.integers(0, 60))
def test_a_rebuilt_device_can_follow(timeline: Timeline, age: int, meanwhile: int) -> None:
    """A rebuilt device can follow from the end: this cursor is not trimmed within half a lifetime.

    Records up to the end are old enough for the other sinks to have stored them.
    """
    now = (timeline.records[-1].times[-1] if timeline.records else 1_000) + age
    retention = retention_times(timedelta(seconds=timeline.lifetime))
    end = asyncio.run(sync_end(timeline.store(now), "ann", lambda: now)).next
    for record in timeline.records:
        if record.sync_seq <= end:
            assert record.times[0] <= now - retention.surely // 4 + retention.interval
    later = now + min(meanwhile, timeline.lifetime // 2)
    found = asyncio.run(all_records(timeline.store(later), end, later))
    assert found == [r.sync_seq for r in timeline.missed(end, later)]
