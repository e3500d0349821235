"""A store that wraps the store: concurrent reads of the same place share one query.

**Which reads may share.** A read may use only the result of a query that began after the read was
called. Then the result was durable at some instant between call and return. That is the guarantee
of `gateway.store.store_port.Store`, and `gateway.reads.access` and `gateway.reads.sync_page` need
no more. It holds for heads, for entries that are not stored yet, and for overwritten rows. A query
in flight may have read the row before the call, so no later read uses its result. This also
applies to entries, because a recall changes an entry: a read that begins after a recall must not
return the text that an earlier query has read. For the same reason no result is cached, so no
result can be stale.

**How.** For each place at most one query is in flight, and at most one waits. A reader of a free
place sends its own query at once. Readers who call while a query is in flight share the next
query. The next query is sent when the first one is answered, or after `PREVIOUS_QUERY_SECONDS`. So
any number of simultaneous readers makes two queries, and a continuous stream of readers makes one
query for each round trip. A single reader has no overhead.

**Places.** For heads and sync timelines, a place is one query with all its parameters. For
entries, a place is a fixed range of `SLICE` SeqIds (0 to 99, 100 to 199 …; a bucket has a whole
number of slices), so that readers of overlapping ranges share as well: the shared query reads all
requested SeqIds of the slice, and each reader takes its part of the result. Reads of chosen
entries use the same places: a shared query reads from the lowest to the highest chosen SeqId.

**Cancellation.** A cancelled reader does not cancel a query that others share; the query is
cancelled when all its readers are. A failure is raised in all readers who share the query, and in
no other.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import TypeVar

from gateway.store.device_port import DeviceStore
from gateway.store.shared_queries import QueryQueue
from gateway.store.store_port import (
    SLICE,
    ConversationHead,
    Expiry,
    ReadMark,
    Store,
    StoredEntry,
    StoredMember,
    StoredRow,
)
from schemas.number_types import BucketNumber, SeqId, SyncSeqId
from schemas.visibility import MembershipChange

ResultT = TypeVar("ResultT")


class CoalescingStore:
    """A `store_port.Store` in front of another one: fewer queries, the same results."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._turns = QueryQueue()

    @property
    def devices(self) -> DeviceStore:
        """See `Store`."""
        return self._store.devices

    async def conversation(self, conv_id: str) -> ConversationHead | None:
        """See `Store`."""
        return await self._same(
            ("conversation", conv_id), lambda: self._store.conversation(conv_id)
        )

    async def changes(self, user: str, conv_id: str) -> list[MembershipChange]:
        """See `Store`."""
        return await self._store.changes(user, conv_id)

    async def all_changes(self, user: str) -> dict[str, list[MembershipChange]]:
        """See `Store`."""
        return await self._store.all_changes(user)

    async def conversation_ids(self, user: str, after: str, limit: int) -> list[str]:
        """See `Store`."""
        return await self._store.conversation_ids(user, after, limit)

    async def activities(self, user: str, most: int) -> dict[str, int] | None:
        """See `Store`."""
        return await self._store.activities(user, most)

    async def members(self, conv_id: str, after: str, limit: int) -> list[StoredMember]:
        """See `Store`."""
        return await self._same(
            ("members", conv_id, after, limit), lambda: self._store.members(conv_id, after, limit)
        )

    async def messages_up_to(self, conv_id: str, seq: SeqId) -> int:
        """See `Store`."""
        return await self._store.messages_up_to(conv_id, seq)

    async def read_mark(self, conv_id: str, user: str) -> ReadMark:
        """See `Store`."""
        return await self._store.read_mark(conv_id, user)

    async def entries(self, conv_id: str, first: SeqId, last: SeqId) -> list[StoredEntry]:
        """See `Store`. Touches two slices at most."""
        numbers = range(first // SLICE, last // SLICE + 1)
        slices: list[Hashable] = [("entries", conv_id, number) for number in numbers]
        if all(map(self._turns.free, slices)):
            return await self._turns.alone(
                slices, lambda: self._store.entries(conv_id, first, last)
            )
        wanted = range(first, last + 1)
        places = zip(slices, numbers, strict=True)
        reads = (self._part(place, conv_id, _cut(wanted, number)) for place, number in places)
        parts = await asyncio.gather(*reads, return_exceptions=True)  # awaits all parts
        return [entry for part in parts for entry in _answer(part) if entry.seq in wanted]

    async def _part(self, place: Hashable, conv_id: str, wanted: range) -> list[StoredEntry]:
        def query(seqs: range) -> Awaitable[list[StoredEntry]]:
            return self._store.entries(conv_id, SeqId(seqs.start), SeqId(seqs.stop - 1))

        if self._turns.free(place):
            return await self._turns.alone([place], lambda: query(wanted))
        return await self._turns.shared(place, wanted, query)

    async def chosen_entries(self, conv_id: str, seqs: list[SeqId]) -> list[StoredEntry]:
        """See `Store`."""
        by_slice: defaultdict[int, list[SeqId]] = defaultdict(list)
        for seq in seqs:
            by_slice[seq // SLICE].append(seq)
        slices: list[Hashable] = [("entries", conv_id, number) for number in by_slice]
        if all(map(self._turns.free, slices)):
            return await self._turns.alone(
                slices, lambda: self._store.chosen_entries(conv_id, seqs)
            )
        places = zip(slices, by_slice.values(), strict=True)
        reads = (self._chosen_part(place, conv_id, chosen) for place, chosen in places)
        parts = await asyncio.gather(*reads, return_exceptions=True)  # awaits all parts
        return [entry for part in parts for entry in _answer(part)]

    async def entries_of(self, chosen: Mapping[str, list[SeqId]]) -> dict[str, list[StoredEntry]]:
        """See `Store`. Conversations without a query in flight are read together."""
        places = {
            conv_id: {("entries", conv_id, seq // SLICE) for seq in seqs}
            for conv_id, seqs in chosen.items()
        }
        free = {c: chosen[c] for c in chosen if all(map(self._turns.free, places[c]))}
        if len(free) == len(chosen):
            return await self._turns.alone(
                list(itertools.chain(*places.values())), lambda: self._store.entries_of(chosen)
            )
        others = [conv_id for conv_id in chosen if conv_id not in free]
        reads = [self._entries_of(conv_id, chosen[conv_id]) for conv_id in others]
        if free:
            reads.append(self.entries_of(free))  # checks again when it begins
        parts = await asyncio.gather(*reads, return_exceptions=True)  # awaits all parts
        return {conv_id: entries for part in parts for conv_id, entries in _answer(part).items()}

    async def _entries_of(self, conv_id: str, seqs: list[SeqId]) -> dict[str, list[StoredEntry]]:
        return {conv_id: await self.chosen_entries(conv_id, seqs)}

    async def _chosen_part(
        self, place: Hashable, conv_id: str, chosen: list[SeqId]
    ) -> list[StoredEntry]:
        if self._turns.free(place):
            return await self._turns.alone(
                [place], lambda: self._store.chosen_entries(conv_id, chosen)
            )
        part = await self._part(place, conv_id, range(min(chosen), max(chosen) + 1))
        return [entry for entry in part if entry.seq in chosen]

    async def sync_buckets(self, user: str, first: BucketNumber, limit: int) -> list[BucketNumber]:
        """See `Store`."""
        return await self._same(
            ("sync_buckets", user, first, limit),
            lambda: self._store.sync_buckets(user, first, limit),
        )

    async def sync_rows(
        self, user: str, bucket: BucketNumber, after: SyncSeqId, limit: int
    ) -> list[StoredRow]:
        """See `Store`."""
        return await self._same(
            ("sync_rows", user, bucket, after, limit),
            lambda: self._store.sync_rows(user, bucket, after, limit),
        )

    async def sync_buckets_back(
        self, user: str, last: BucketNumber, limit: int
    ) -> list[BucketNumber]:
        """See `Store`."""
        return await self._same(
            ("sync_buckets_back", user, last, limit),
            lambda: self._store.sync_buckets_back(user, last, limit),
        )

    async def sync_rows_back(
        self, user: str, bucket: BucketNumber, before: SyncSeqId, limit: int
    ) -> list[StoredRow]:
        """See `Store`."""
        return await self._same(
            ("sync_rows_back", user, bucket, before, limit),
            lambda: self._store.sync_rows_back(user, bucket, before, limit),
        )

    async def expiries(self, user: str, limit: int) -> list[Expiry]:
        """See `Store`."""
        return await self._same(
            ("expiries", user, limit), lambda: self._store.expiries(user, limit)
        )

    async def reachable(self) -> bool:
        """See `Store`."""
        return await self._store.reachable()

    async def _same(self, place: Hashable, query: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Shares a query with readers that have exactly the same parameters."""
        if self._turns.free(place):
            return await self._turns.alone([place], query)
        return await self._turns.shared(place, range(0), lambda _: query())


def _answer(part: ResultT | BaseException) -> ResultT:
    if isinstance(part, BaseException):
        raise part
    return part


def _cut(seqs: range, number: int) -> range:
    """The SeqIds that are in one slice."""
    return range(max(seqs.start, number * SLICE), min(seqs.stop, (number + 1) * SLICE))
