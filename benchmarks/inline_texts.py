"""Texts in the sync timelines of small chats: ``python -m benchmarks.inline_texts``.

A row of the table ``sync`` has references, and a page reads their entries from ``message`` (ADR
28). For a chat of two, the row could have the entries themselves. This measures both kinds of rows
in interleaved rounds of one run:

- writes: rows of 1 and of 10 records, sent as the sync sink sends them. The other inserts of the
  sinks are the same for both kinds, and are left out.
- reads: pages of 100 records in rows of 10, which belong to 5 or to 100 chats, by 16 readers with
  the queries of the gateway. With references, a page reads the rows, then the entries of each
  chat.

IM_CASSANDRA_HOSTS names the server.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import partial
from typing import Final

from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent_with_args
from cassandra.query import PreparedStatement

from backends.cassandra.session import cassandra_session
from backends.cassandra.tables import create_tables
from benchmarks.built_requests import BuiltRequest
from benchmarks.workload import TEXT
from gateway.store.cassandra_queries import CassandraQueries
from schemas.codec import encode
from schemas.errors import ServerUnavailable
from schemas.ids import uuid7
from schemas.number_types import Milliseconds, SeqId
from schemas.records import MessageSent, TextContent
from schemas.settings import Settings
from schemas.sync_rows import SyncRow, encode_row
from sinks.cassandra.requests import send_statements
from sinks.cassandra.sync_parts import bigint
from sinks.cassandra.sync_requests import MAX_REQUEST_BYTES, MAX_STATEMENTS, PackedBatch

ROUNDS: Final = 5
ROWS: Final = {1: 60_000, 10: 15_000}
"""Rows of a round, by the records in a row."""

PAGE: Final = 100
IN_A_ROW: Final = 10
READERS: Final = 16
RECORDS: Final = 1_000
"""Records of each reader."""

CHATS: Final = (5, 100)
"""Chats to which the records of a reader belong by turns."""

SECONDS: Final = 2.0
_CONNECT_SECONDS: Final = 30.0

REFERENCES, INLINE = "references", "texts inline"


class _Query(Enum):
    ROWS = (
        "SELECT sync_seq, records FROM sync"
        " WHERE user_id = ? AND bucket = 0 AND sync_seq > ? LIMIT ?"
    )
    ENTRIES = (
        "SELECT seq, kind, entry, edited_by, recalled_by FROM message"
        " WHERE conv_id = ? AND bucket = 0 AND seq IN ?"
    )


def main() -> None:
    """Prints a line for each figure."""
    for records in ROWS:
        rates = _turns(partial(_write, records))
        _print(f"writes, {records} records in a row", "rows/s", rates)
    settings = Settings(namespace=f"bench-{secrets.token_hex(4)}")
    with cassandra_session(settings) as session:
        create_tables(session, settings)
        try:
            for chats in CHATS:
                _fill(session, chats)
                rates = asyncio.run(_read(settings, chats))
                _print(f"reads, pages of {PAGE} of {chats} chats", "pages/s", rates)
        finally:
            session.execute(f"DROP KEYSPACE {settings.keyspace}", timeout=60)


def _print(what: str, unit: str, rates: Mapping[str, list[float]]) -> None:
    for kind, each in rates.items():
        print(
            f"{what}, {kind}: {statistics.median(each):,.0f} {unit} "
            f"({min(each):,.0f} to {max(each):,.0f})"
        )
    print(f"load average {os.getloadavg()}", flush=True)


def _turns(measure: Callable[[str], float]) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {REFERENCES: [], INLINE: []}
    for _ in range(ROUNDS):
        for kind, found in rates.items():
            found.append(measure(kind))
    return rates


def _write(records: int, kind: str) -> float:
    """Rows/s of one kind into fresh tables."""
    settings = Settings(namespace=f"bench-{secrets.token_hex(4)}")
    with cassandra_session(settings) as session:
        create_tables(session, settings)
        try:
            insert = session.prepare(
                "INSERT INTO sync (user_id, bucket, sync_seq, records) VALUES (?, 0, ?, ?)"
            )
            requests = list(_requests(insert, records, kind))
            began = time.monotonic()
            refused, again = send_statements(session, requests)
            seconds = time.monotonic() - began
            if refused or again:
                raise ServerUnavailable("Cassandra did not take all statements")
        finally:
            session.execute(f"DROP KEYSPACE {settings.keyspace}", timeout=60)
    return ROWS[records] / seconds


def _requests(insert: PreparedStatement, records: int, kind: str) -> Iterator[BuiltRequest]:
    """One row for each of many people, in requests within the bounds of the sync sink."""
    chosen: list[list[bytes]] = []
    size = 0
    for number in range(ROWS[records]):
        row = _row(f"chat-{number // 2}", number, records, kind)
        values = [b"user-%d" % number, bigint(number + records), row]
        if chosen and (len(chosen) == MAX_STATEMENTS or size + len(row) > MAX_REQUEST_BYTES):
            yield _request(insert, chosen)
            chosen, size = [], 0
        chosen.append(values)
        size += len(row) + 64
    yield _request(insert, chosen)


def _request(insert: PreparedStatement, rows: list[list[bytes]]) -> BuiltRequest:
    batch = PackedBatch(insert, rows[0])
    for values in rows:
        batch.pack((True, insert.query_id, values))
    return BuiltRequest(batch)


def _row(conv_id: str, number: int, records: int, kind: str) -> bytes:
    """The records of one chat: their references, or the entries themselves."""
    if kind == INLINE:
        return b"[" + b",".join(_entry(conv_id, 1 + n) for n in range(records)) + b"]"
    pairs = [part for n in range(records) for part in (number + n, 1 + n)]
    return encode_row(SyncRow(entries={conv_id: pairs}))


def _entry(conv_id: str, seq: int) -> bytes:
    return encode(
        MessageSent(
            conv_id=conv_id, seq=SeqId(seq), sender="ann", client_msg_id=uuid7(seq, seq),
            at=Milliseconds(1_700_000_000_000 + seq), content=TextContent(text=TEXT), mentions=[],
        )
    )  # fmt: skip


def _place(user: str, chats: int, sync_seq: int) -> tuple[str, int]:
    return f"{user}-{sync_seq % chats}", 1 + sync_seq // chats


def _user(reader: int, chats: int, kind: str) -> str:
    return f"{kind} {chats} {reader}"


def _fill(session: Session, chats: int) -> None:
    """The rows of both kinds, and the entries of the references."""
    row = session.prepare(
        "INSERT INTO sync (user_id, bucket, sync_seq, records) VALUES (?, 0, ?, ?)"
    )
    entry = session.prepare(
        "INSERT INTO message (conv_id, bucket, seq, kind, entry)"
        " VALUES (?, 0, ?, 'message_sent', ?)"
    )
    for reader in range(READERS):
        user = _user(reader, chats, REFERENCES)
        places = [_place(user, chats, n) for n in range(RECORDS)]
        execute_concurrent_with_args(
            session, entry, [(*place, _entry(*place).decode()) for place in places]
        )
        rows: list[tuple[str, int, str]] = []
        for begin in range(0, RECORDS, IN_A_ROW):
            part = places[begin : begin + IN_A_ROW]
            last = begin + IN_A_ROW - 1
            references: dict[str, list[int]] = defaultdict(list)
            for sync_seq, (conv_id, seq) in enumerate(part, begin):
                references[conv_id] += (sync_seq, seq)
            rows.append((user, last, encode_row(SyncRow(entries=references)).decode()))
            texts = ",".join(_entry(*place).decode() for place in part)
            rows.append((_user(reader, chats, INLINE), last, f"[{texts}]"))
        execute_concurrent_with_args(session, row, rows)


async def _read(settings: Settings, chats: int) -> dict[str, list[float]]:
    queries = CassandraQueries(settings, _Query)
    queries.start()
    try:
        await _connected(queries)
        rates: dict[str, list[float]] = {REFERENCES: [], INLINE: []}
        for _ in range(ROUNDS):
            for kind, found in rates.items():
                found.append(await _pages(queries, chats, kind))
        return rates
    finally:
        await queries.stop()


async def _connected(queries: CassandraQueries) -> None:
    deadline = time.monotonic() + _CONNECT_SECONDS
    while True:
        try:
            await queries.run(_Query.ROWS, "nobody", 0, 1)
        except ServerUnavailable:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)
        else:
            return


async def _pages(queries: CassandraQueries, chats: int, kind: str) -> float:
    began = time.monotonic()
    reads = (_reader(queries, reader, chats, kind, began + SECONDS) for reader in range(READERS))
    return sum(await asyncio.gather(*reads)) / (time.monotonic() - began)


async def _reader(
    queries: CassandraQueries, reader: int, chats: int, kind: str, end: float
) -> int:
    user, pages = _user(reader, chats, kind), 0
    while time.monotonic() < end:
        after = pages * PAGE % RECORDS - 1
        rows = await queries.run(_Query.ROWS, user, after, PAGE // IN_A_ROW)
        if kind == REFERENCES:
            chosen: dict[str, list[int]] = defaultdict(list)
            for sync_seq in range(after + 1, after + 1 + PAGE):
                conv_id, seq = _place(user, chats, sync_seq)
                chosen[conv_id].append(seq)
            parts = await queries.run_all(_Query.ENTRIES, list(chosen.items()))
            found = sum(map(len, parts))
        else:
            found = sum(records.count('"message_sent"') for _, records in rows)
        if found != PAGE or len(rows) != PAGE // IN_A_ROW:
            raise AssertionError(f"{found} records of {PAGE}")
        pages += 1
    return pages


if __name__ == "__main__":
    main()
