"""The saving when readers share queries: ``python -m benchmarks.shared_reads``.

Many members of one pull conversation read its last page again and again. Each read has the queries
of a gateway request: head, own membership, page. IM_CASSANDRA_HOSTS names the server.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from typing import Any, Final, NamedTuple

from cassandra.cluster import Session

from backends.cassandra.memberships import user_bucket
from backends.cassandra.session import cassandra_session
from backends.cassandra.tables import create_tables
from benchmarks.workload import TEXT
from gateway.reads.access import access_conversation
from gateway.reads.history import HistoryRequest, read_history
from gateway.store.cassandra_store import CassandraStore
from gateway.store.coalescing import CoalescingStore
from gateway.store.store_port import Store
from schemas.codec import encode
from schemas.limits import MESSAGE_BUCKET
from schemas.number_types import Milliseconds, SeqId
from schemas.records import MessageSent, TextContent
from schemas.settings import Settings
from tests.support.waiting import until

READERS: Final = 200
PAGES_EACH: Final = 25
HEAD: Final = 1_250
PAGE: Final = 100
ROUNDS: Final = 3
CONV_ID: Final = "large group"

_CONNECT_SECONDS: Final = 30.0


class CountedStore(CassandraStore):
    """Counts the queries to the store, by table."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.queries: Counter[str] = Counter()

    async def _read(self, read: Any, *parameters: object) -> list[tuple[Any, ...]]:
        self.queries[read.name.lower()] += 1
        return await super()._read(read, *parameters)


class Measured(NamedTuple):
    """The result of one run."""

    pages: int
    seconds: float
    queries: Counter[str]


def main() -> None:
    """Prints a line for each run; runs with sharing and runs without sharing take turns."""
    settings = Settings(namespace=f"bench-{secrets.token_hex(4)}")
    with cassandra_session(settings) as session:
        create_tables(session, settings)
        try:
            fill(session)
            asyncio.run(compare(settings))
        finally:
            session.execute(f"DROP KEYSPACE {settings.keyspace}", timeout=60)


def fill(session: Session) -> None:
    """Writes a conversation with as many members as there are readers."""
    session.execute(
        "INSERT INTO conversation (conv_id, head, mode) VALUES (%s, %s, 'pull')", (CONV_ID, HEAD)
    )
    for number in range(READERS):
        session.execute(
            "INSERT INTO membership_by_user (user_id, bucket, conv_id, seq, joined)"
            " VALUES (%s, %s, %s, 1, true)",
            (f"user-{number}", user_bucket(CONV_ID), CONV_ID),
        )
    for seq in range(1, HEAD + 1):
        sent = MessageSent(
            conv_id=CONV_ID,
            seq=SeqId(seq),
            sender="ann",
            client_msg_id="bench",
            at=Milliseconds(seq),
            content=TextContent(text=TEXT),
            mentions=[],
        )
        session.execute(
            "INSERT INTO message (conv_id, bucket, seq, kind, entry)"
            " VALUES (%s, %s, %s, 'message_sent', %s)",
            (CONV_ID, seq // MESSAGE_BUCKET, seq, encode(sent).decode()),
        )


async def compare(settings: Settings) -> None:
    """Measures both ways, in turns, on one connected store."""
    counted = CountedStore(settings)
    counted.start()
    try:
        await until(counted.reachable, _CONNECT_SECONDS)
        ways: dict[str, Store] = {"each alone": counted, "shared": CoalescingStore(counted)}
        for store in ways.values():
            await measure(counted, store)  # warm-up
        for _ in range(ROUNDS):
            for name, store in ways.items():
                print(_line(name, await measure(counted, store)))
    finally:
        await counted.stop()


async def measure(counted: CountedStore, store: Store) -> Measured:
    """Runs all readers at once; each reads page after page."""
    counted.queries.clear()
    began = time.monotonic()
    await asyncio.gather(*(_reader(store, f"user-{number}") for number in range(READERS)))
    return Measured(READERS * PAGES_EACH, time.monotonic() - began, counted.queries.copy())


async def _reader(store: Store, user: str) -> None:
    for _ in range(PAGES_EACH):
        access = await access_conversation(store, user, CONV_ID)
        asked = HistoryRequest(SeqId(access.head - PAGE + 1), access.head, PAGE, newest_first=True)
        page = await read_history(store, access, asked)
        if len(page.items) != PAGE:
            raise AssertionError(f"a page of {len(page.items)}")


def _line(name: str, run: Measured) -> str:
    queries = ", ".join(f"{table} {count:,}" for table, count in sorted(run.queries.items()))
    return f"{name:>10}: {run.pages / run.seconds:7,.0f} pages/s; queries: {queries}"


if __name__ == "__main__":
    main()
