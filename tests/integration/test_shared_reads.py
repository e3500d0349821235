"""Many readers of one conversation at once make few queries to the real Cassandra."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import pytest

from gateway.reads.access import ConversationAccess, access_conversation
from gateway.reads.history import HistoryRequest, read_history
from gateway.reads.sync_page import read_sync
from gateway.store.cassandra_store import CassandraStore
from gateway.store.coalescing import CoalescingStore
from gateway.store.store_port import Store
from schemas.codec import encode
from schemas.http.answers import HistoryItem, HistoryPage
from schemas.number_types import SeqId, SyncSeqId
from schemas.settings import Settings
from schemas.sync_rows import SyncRow
from tests.support.gateway_rows import cassandra_store, tables
from tests.support.gateway_store import message
from tests.support.servers import Servers

pytestmark = pytest.mark.servers

READERS: Final = 200
HEAD: Final = 250
PAGE: Final = 80
GROUP: Final = "group"
REFERENCES: Final = [number for seq in range(1, PAGE + 1) for number in (10 * seq, seq)]
"""Sync SeqIds and SeqIds of entries, alternating."""


@pytest.fixture(scope="module")
def deployment(servers: Servers) -> Iterator[Settings]:
    """A pull conversation with as many members as there are readers."""
    settings = servers.settings()
    with tables(settings) as rows:
        rows.put_conversation(GROUP, HEAD, "pull")
        for number in range(READERS):
            rows.put_change(f"u{number}", GROUP, 1, joined=True)
            rows.put_row(f"u{number}", SyncRow(entries={GROUP: list(REFERENCES)}))
        for seq in range(1, HEAD + 1):
            rows.put_message(message(GROUP, seq))
        yield settings


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """The number of queries, by kind."""
    sent: Counter[str] = Counter()
    read = CassandraStore._read  # noqa: SLF001 - sends single queries
    read_all = CassandraStore._read_all  # noqa: SLF001 - sends several queries

    async def counted(store: CassandraStore, kind: Any, *parameters: object) -> Any:
        sent[kind.name] += 1
        return await read(store, kind, *parameters)

    async def all_counted(store: CassandraStore, kind: Any, asked: Any) -> Any:
        sent[kind.name] += len(asked)
        return await read_all(store, kind, asked)

    monkeypatch.setattr(CassandraStore, "_read", counted)
    monkeypatch.setattr(CassandraStore, "_read_all", all_counted)
    return sent


async def opened(store: Store, number: int) -> ConversationAccess:
    """The access check of one member."""
    return await access_conversation(store, f"u{number}", GROUP)


async def last_page(
    store: Store, access: ConversationAccess, number: int
) -> HistoryPage[HistoryItem]:
    """The page that one member reads; the members start at different SeqIds."""
    asked = HistoryRequest(SeqId(HEAD - PAGE + number % 10), SeqId(HEAD), PAGE, newest_first=True)
    return await read_history(store, access, asked)


async def test_200_readers_of_the_last_page_share_queries(
    deployment: Settings, queries: Counter[str]
) -> None:
    """200 readers of the last page cause two reads of the head and three of entries.

    Each reader gets the same page as a single reader.
    """
    everybody = range(READERS)
    async with cassandra_store(deployment) as store:
        alone = [await last_page(store, await opened(store, n), n) for n in range(10)]
        shared = CoalescingStore(store)
        queries.clear()
        doors = await asyncio.gather(*(opened(shared, n) for n in everybody))
        pages = await asyncio.gather(*(last_page(shared, doors[n], n) for n in everybody))
    assert pages == [alone[n % 10] for n in everybody]
    assert queries == {"CONVERSATION": 2, "CHANGES": READERS, "ENTRIES": 3}


async def test_200_readers_of_the_same_messages_share_queries(
    deployment: Settings, queries: Counter[str]
) -> None:
    """Readers of sync timelines with the same messages share the reads of the entries."""
    async with cassandra_store(deployment) as store:
        shared = CoalescingStore(store)
        found = await asyncio.gather(
            *(read_sync(shared, f"u{number}", SyncSeqId(-1), PAGE) for number in range(READERS))
        )
    for page, _ in found:
        assert [bytes(each.record) for each in page.records] == [
            encode(message(GROUP, seq)) for seq in range(1, PAGE + 1)
        ]
    assert queries["SYNC_ROWS"] == READERS
    assert queries["CHOSEN_ENTRIES"] + queries["ENTRIES"] < READERS / 4


async def test_a_single_reader_sends_the_same_queries(
    deployment: Settings, queries: Counter[str]
) -> None:
    """A single reader makes the same queries as without sharing, and no wider ones."""
    async with cassandra_store(deployment) as store:
        queries.clear()
        await last_page(store, await opened(store, 3), 3)
        plain = queries.copy()
        queries.clear()
        shared = CoalescingStore(store)
        await last_page(shared, await opened(shared, 3), 3)
    assert queries == plain == {"CONVERSATION": 1, "CHANGES": 1, "ENTRIES": 1}


async def test_a_repeated_request_shows_new_entries(
    servers: Servers, queries: Counter[str]
) -> None:
    """A reader sees every entry written before the read, while others read without a pause."""
    settings = servers.settings()
    with tables(settings) as rows:
        rows.put_change("ann", "c", 1, joined=True)
        async with cassandra_store(settings) as store:
            shared = CoalescingStore(store)
            stop = asyncio.Event()

            async def crowd() -> None:
                while not stop.is_set():
                    await shared.conversation("c")
                    await shared.entries("c", SeqId(1), SeqId(60))

            async with asyncio.TaskGroup() as group:
                for _ in range(20):
                    group.create_task(crowd())
                try:
                    for seq in range(1, 61):
                        await asyncio.to_thread(rows.put_message, message("c", seq))
                        await asyncio.to_thread(rows.put_conversation, "c", seq)
                        found = await shared.conversation("c")
                        assert found is not None
                        assert found.head == seq
                        entries = await shared.entries("c", SeqId(1), SeqId(60))
                        assert [one.seq for one in entries] == list(range(1, seq + 1))
                        assert entries[-1].json == encode(message("c", seq))
                finally:
                    stop.set()
    assert queries.total() > 120
