"""The time of one page of a person's conversations: ``python -m benchmarks.conversation_list``.

Uses the server that IM_CASSANDRA_HOSTS names. Prints for each number of conversations and each
order the median and the slowest of some pages of 100, in milliseconds, one after the other. The
time includes the gateway's reads, without HTTP.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent_with_args

from backends.cassandra.memberships import join_place, user_bucket
from backends.cassandra.session import cassandra_session
from backends.cassandra.tables import create_tables
from benchmarks.workload import TEXT
from gateway.reads.conversation_list import list_conversations
from gateway.store.cassandra_store import CassandraStore
from gateway.store.coalescing import CoalescingStore
from schemas.codec import encode
from schemas.http.queries import ConversationOrder, ConversationsQuery
from schemas.limits import MESSAGE_BUCKET
from schemas.number_types import Milliseconds, SeqId
from schemas.records import MessageSent, TextContent
from schemas.settings import Settings
from tests.support.waiting import until

_SIZES: Final = (100, 1_000, 4_500)
_ORDERS: Final[tuple[ConversationOrder, ...]] = ("activity", "id")
_PAGES: Final = 21
_PAGE: Final = 100
_HEAD: Final = 50
_CONNECT_SECONDS: Final = 30.0


def main() -> None:
    """Fills a keyspace, measures, and drops the keyspace."""
    settings = Settings(namespace=f"bench-{secrets.token_hex(4)}")
    with cassandra_session(settings) as session:
        create_tables(session, settings)
        try:
            for size in _SIZES:
                _fill(session, f"user {size}", size)
            for line in asyncio.run(_measure(settings)):
                sys.stdout.write(f"{line}\n")
        finally:
            session.execute(f"DROP KEYSPACE {settings.keyspace}", timeout=60)


async def _measure(settings: Settings) -> list[str]:
    store = CassandraStore(settings)
    store.start()
    await until(store.reachable, _CONNECT_SECONDS)
    try:
        return [
            await _line(CoalescingStore(store), size, order)
            for size in _SIZES
            for order in _ORDERS
        ]
    finally:
        await store.stop()


async def _line(store: CoalescingStore, size: int, order: ConversationOrder) -> str:
    took: list[float] = []
    for _ in range(_PAGES):
        begin = time.perf_counter()
        page = await list_conversations(
            store, f"user {size}", ConversationsQuery(order=order, limit=_PAGE)
        )
        took.append((time.perf_counter() - begin) * 1_000)
        if len(page.conversations) != min(_PAGE, size):
            raise RuntimeError(f"the page has {len(page.conversations)} conversations")
    middle, slowest = statistics.median(took), max(took[1:])  # the first page warms up
    return f"{size} conversations by {order}: median {middle:.0f} ms, slowest {slowest:.0f} ms"


def _fill(session: Session, user: str, size: int) -> None:
    for table, rows in _rows(user, size).items():
        columns = table.partition("(")[2].count(",") + 1
        marks = ", ".join("?" for _ in range(columns))
        insert = session.prepare(f"INSERT INTO {table} VALUES ({marks})")  # noqa: S608 - our names
        execute_concurrent_with_args(session, insert, list(rows))


def _rows(user: str, size: int) -> dict[str, Iterator[tuple[Any, ...]]]:
    names = [f"{user} conversation {number}" for number in range(size)]
    return {
        "conversation (conv_id, head, messages, at, owner, mode, member_count, name)": (
            (name, _HEAD, _HEAD, at, user, "push", 7, name) for at, name in enumerate(names)
        ),
        "membership_by_user (user_id, bucket, conv_id, place, seq, since, joined, messages, at)": (
            (user, user_bucket(name), name, join_place(0), 1, 1, True, 0, 1) for name in names
        ),
        "message (conv_id, bucket, seq, kind, entry)": (
            (name, _HEAD // MESSAGE_BUCKET, _HEAD, "message_sent", _entry(name)) for name in names
        ),
    }


def _entry(conv_id: str) -> str:
    sent = MessageSent(
        conv_id=conv_id, seq=SeqId(_HEAD), sender="ann", client_msg_id="bench", mentions=[],
        at=Milliseconds(1),
        content=TextContent(text=TEXT),
    )  # fmt: skip
    return encode(sent).decode()


if __name__ == "__main__":
    main()
