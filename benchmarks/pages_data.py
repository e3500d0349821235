"""The data of the page benchmark: users, each with a sync timeline and own conversations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent_with_args

from backends.cassandra.memberships import join_place, user_bucket
from benchmarks.workload import TEXT
from schemas.codec import encode
from schemas.number_types import Milliseconds, SeqId
from schemas.records import MessageSent, TextContent
from schemas.sync_rows import SyncRow, encode_row

SECRET: Final = "a secret of the benchmarks, of 32 bytes"  # noqa: S105 - protects nothing
USERS: Final = 16
RECORDS: Final = 1_000
"""Sync records of each user; all in one bucket."""

CONVERSATIONS: Final = 5
"""Conversations of each user. The records of a user belong to the conversations by turns."""

ENTRIES: Final = RECORDS // CONVERSATIONS
"""Entries of each conversation."""

FLUSH: Final = 10
"""Records in one row."""


def place(user: str, sync_seq: int) -> tuple[str, int]:
    """The conversation and the SeqId of a record."""
    return f"{user}-{sync_seq % CONVERSATIONS}", 1 + sync_seq // CONVERSATIONS


def chosen(user: str, after: int, count: int) -> Iterator[tuple[str, list[int]]]:
    """The SeqIds of the records above a cursor, by conversation."""
    found: dict[str, list[int]] = {}
    for sync_seq in range(after + 1, after + 1 + count):
        conv_id, seq = place(user, sync_seq)
        found.setdefault(conv_id, []).append(seq)
    yield from found.items()


def fill(session: Session) -> None:
    """Writes all rows."""
    users = [f"user{number}" for number in range(USERS)]
    _fill_conversations(session, users)
    bucket = session.prepare("INSERT INTO sync_bucket (user_id, bucket) VALUES (?, 0)")
    row = session.prepare(
        "INSERT INTO sync (user_id, bucket, sync_seq, records) VALUES (?, 0, ?, ?)"
    )
    entry = session.prepare(
        "INSERT INTO message (conv_id, bucket, seq, kind, entry)"
        " VALUES (?, 0, ?, 'message_sent', ?)"
    )
    execute_concurrent_with_args(session, bucket, [(user,) for user in users])
    execute_concurrent_with_args(
        session, row, [(user, begin + FLUSH - 1, _row(user, begin)) for user in users
                       for begin in range(0, RECORDS, FLUSH)]
    )  # fmt: skip
    places = [place(user, sync_seq) for user in users for sync_seq in range(RECORDS)]
    execute_concurrent_with_args(session, entry, [(*each, _entry(*each)) for each in places])


def _fill_conversations(session: Session, users: list[str]) -> None:
    conversation = session.prepare(
        "INSERT INTO conversation (conv_id, head, messages, mode, history_rule)"
        " VALUES (?, ?, ?, 'push', 'since_join')"
    )
    join = session.prepare(
        "INSERT INTO membership_by_user"
        " (user_id, bucket, conv_id, place, seq, since, joined, messages, history_rule)"
        " VALUES (?, ?, ?, ?, 1, 1, true, 1, 'since_join')"
    )
    owned = [(user, place(user, number)[0]) for user in users for number in range(CONVERSATIONS)]
    execute_concurrent_with_args(
        session, conversation, [(conv_id, ENTRIES, ENTRIES) for _, conv_id in owned]
    )
    joins = [(user, user_bucket(conv_id), conv_id, join_place(0)) for user, conv_id in owned]
    execute_concurrent_with_args(session, join, joins)


def _row(user: str, begin: int) -> str:
    row = SyncRow(entries={})
    for sync_seq in range(begin, begin + FLUSH):
        conv_id, seq = place(user, sync_seq)
        row.entries.setdefault(conv_id, []).extend((sync_seq, seq))
    return encode_row(row).decode()


def _entry(conv_id: str, seq: int) -> str:
    content = TextContent(text=TEXT)
    sent = MessageSent(
        conv_id=conv_id,
        seq=SeqId(seq),
        sender="ann",
        client_msg_id="bench",
        at=Milliseconds(seq),
        content=content,
        mentions=[],
    )
    return encode(sent).decode()
