"""The entries of a page of a sync timeline are read together, with bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from msgspec import Raw

from gateway.reads.sync_records import HEAD_READS_AT_ONCE, records_of
from gateway.store.store_port import SLICE, ConversationHead, StoredEntry
from schemas.codec import encode
from schemas.errors import ServerUnavailable
from schemas.number_types import SeqId, SyncSeqId
from schemas.sync_rows import SyncReference
from tests.support.gateway_store import FakeStore, message


class Counting(FakeStore):
    """Counts reads, and the highest number of simultaneous reads of heads."""

    def __init__(self) -> None:
        super().__init__()
        self.entry_reads = self.head_reads = self.under_way = self.most = 0
        self.fails_at = 0

    async def entries_of(self, chosen: Mapping[str, list[SeqId]]) -> dict[str, list[StoredEntry]]:
        self.entry_reads += 1
        return await super().entries_of(chosen)

    async def conversation(self, conv_id: str) -> ConversationHead | None:
        self.head_reads += 1
        if self.head_reads == self.fails_at:
            raise ServerUnavailable("as the test says")
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0.001)
        self.under_way -= 1
        return await super().conversation(conv_id)


async def test_all_entries_are_one_read() -> None:
    """The entries of a page are one read, whatever their number; a reply needs no read."""
    store = Counting()
    for seq in range(1, SLICE + 1):
        store.put_message(message("c", seq))
    found = [SyncReference(SyncSeqId(10 * seq), "c", SeqId(seq)) for seq in range(1, SLICE)]
    found.append(SyncReference(SyncSeqId(9_999), reply=Raw(b"{}")))
    records = await records_of(store, found)
    expected = [Raw(encode(message("c", seq))) for seq in range(1, SLICE)]
    assert records == [*expected, Raw(b"{}")]
    assert (store.entry_reads, store.head_reads) == (1, 0)


async def test_heads_of_many_conversations_are_read_with_bounded_concurrency() -> None:
    """Heads are read only where an entry is missing, with a bounded number at the same time."""
    store = Counting()
    found = [SyncReference(SyncSeqId(number), f"c{number}", SeqId(1)) for number in range(SLICE)]
    for number in range(0, SLICE, 2):
        store.put_message(message(f"c{number}", 1))
    records = await records_of(store, found)
    assert [record is None for record in records] == [False, True] * (SLICE // 2)
    assert (store.entry_reads, store.head_reads) == (1, SLICE // 2)
    assert store.most == HEAD_READS_AT_ONCE


async def test_a_failing_store_leaves_no_task() -> None:
    """A failed read fails the page at once, and no other read of the page continues."""
    store = Counting()
    store.fails_at = HEAD_READS_AT_ONCE + 1
    found = [SyncReference(SyncSeqId(number), f"c{number}", SeqId(1)) for number in range(SLICE)]
    with pytest.raises(ServerUnavailable):
        await records_of(store, found)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_entry_that_arrives_before_the_head_is_read_is_not_a_hole() -> None:
    """An entry stored between the two reads is returned, and not reported as lost."""

    class Late(FakeStore):
        async def conversation(self, conv_id: str) -> ConversationHead | None:
            self.put_message(message(conv_id, 3))
            self.put_conversation(conv_id, 3)
            return await super().conversation(conv_id)

    records = await records_of(Late(), [SyncReference(SyncSeqId(7), "c", SeqId(3))])
    assert records == [Raw(encode(message("c", 3)))]
