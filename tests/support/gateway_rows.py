"""Writes rows and documents directly, in the form that the sinks write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from cassandra.cluster import Session

from backends.cassandra.memberships import (
    join_place,
    leave_place,
    member_bucket,
    user_bucket,
)
from backends.cassandra.session import cassandra_session
from backends.cassandra.tables import FIRST_MUTE_TIMESTAMP, RECALL_TIMESTAMP, create_tables
from backends.elasticsearch.index import (
    create_index,
    document_id,
    elasticsearch_client,
    index_name,
)
from backends.search_text import readings_of
from gateway.store.cassandra_store import CassandraStore
from gateway.store.elastic_index import ElasticIndex
from gateway.store.store_port import ConversationHead, StoredMember
from schemas.codec import encode
from schemas.limits import MESSAGE_BUCKET, SYNC_BUCKET
from schemas.records import FanoutMode, HistoryRule, MessageEdited, MessageSent
from schemas.settings import Settings
from schemas.sync_rows import SyncRow, encode_row
from tests.support.gateway import Answer, Caller, serving
from tests.support.gateway_store import SyncRowWriting, key_of
from tests.support.waiting import until

BUSY: Final = frozenset({429, 503})
"""What the gateway answers while there is no free place, or while a server is slow."""

_Change = tuple[bool, str | None, int | None, int | None]
"""Whether it is a join, the history rule, the count of messages and the time."""


class Rows(SyncRowWriting):
    """Writes the content of a `tests.support.gateway_store.FakeStore` to Cassandra."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._changes: dict[tuple[str, str], dict[int, _Change]] = {}

    def put_conversation(
        self, conv_id: str, head: int, mode: FanoutMode = "push", messages: int = 0
    ) -> None:
        """Writes the current state of a conversation, without a count where the state has none."""
        self._session.execute(
            "INSERT INTO conversation (conv_id, head, mode, messages) VALUES (%s, %s, %s, %s)",
            (conv_id, head, mode, messages or None),
        )

    def put_described(self, conv_id: str, about: ConversationHead) -> None:
        """Writes the whole current state of a conversation."""
        columns = ", ".join(about._fields)
        self._session.execute(
            f"INSERT INTO conversation (conv_id, {columns}) VALUES"  # noqa: S608 - our own names
            f" ({', '.join(['%s'] * (1 + len(about)))})",
            (conv_id, *about),
        )

    def put_member(self, conv_id: str, member: StoredMember) -> None:
        """Writes the last change of a person in a conversation."""
        self._session.execute(
            "INSERT INTO membership_by_conversation (conv_id, bucket, user_id, seq, joined, at)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            (conv_id, member_bucket(member.user), *member),
        )

    def put_own(self, conv_id: str, user: str, seq: int, messages: int) -> None:
        """Writes the last own message of a person; the highest SeqId wins."""
        self._session.execute(
            "INSERT INTO read_mark (conv_id, user_id, own_seq, own_messages)"
            " VALUES (%s, %s, %s, %s) USING TIMESTAMP %s",
            (conv_id, user, seq, messages, seq),
        )

    def put_marked(self, conv_id: str, user: str, seq: int) -> None:
        """Writes a person's read mark; the highest SeqId wins."""
        self._session.execute(
            "INSERT INTO read_mark (conv_id, user_id, read_seq) VALUES (%s, %s, %s)"
            " USING TIMESTAMP %s",
            (conv_id, user, seq, seq),
        )

    def put_muted(self, conv_id: str, user: str, sync_seq: int, until: int) -> None:
        """Writes a person's mute; the highest sync SeqId wins."""
        self._session.execute(
            "INSERT INTO read_mark (conv_id, user_id, muted_until) VALUES (%s, %s, %s)"
            " USING TIMESTAMP %s",
            (conv_id, user, until, sync_seq + FIRST_MUTE_TIMESTAMP),
        )

    def put_change(  # noqa: PLR0913 - one for each column
        self,
        user: str,
        conv_id: str,
        seq: int,
        *,
        joined: bool,
        history: HistoryRule = "since_join",
        messages: int = 0,
        at: int = 0,
    ) -> None:
        """Writes a change of membership; writes the rule only for a join with a non-default rule.

        Leaves have no rule, nor do rows that were written before the rule existed.
        """
        rule = history if joined and history != "since_join" else None
        rows = self._changes.setdefault((user, conv_id), {})
        is_last = seq > max(rows, default=0)
        rows[seq] = (joined, rule, messages or None, at or None)
        whose = (user, user_bucket(conv_id), conv_id)
        if not is_last:  # the later changes get other places
            self._session.execute(
                "DELETE FROM membership_by_user WHERE user_id = %s AND bucket = %s"
                " AND conv_id = %s",
                whose,
            )
        number = -1
        for change, (was_join, *more) in sorted(rows.items()):
            number += was_join
            if is_last and change < seq:
                continue
            place = join_place(number) if was_join else leave_place(max(0, number))
            self._session.execute(
                "INSERT INTO membership_by_user (user_id, bucket, conv_id, place, seq, since,"
                " joined, history_rule, messages, at)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                (*whose, place, change, change, was_join, *more),
            )

    def put_message(self, entry: MessageSent) -> None:
        """Writes an entry."""
        place = (entry.conv_id, entry.seq // MESSAGE_BUCKET, entry.seq)
        self._session.execute(
            "INSERT INTO message (conv_id, bucket, seq, kind, sender, at, messages, entry)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (
                *(*place, "message_sent", entry.sender, entry.at, entry.messages or None),
                encode(entry).decode(),
            ),
        )

    def put_edit(self, entry: MessageEdited) -> None:
        """Writes an edit, and marks it as the last edit of its message."""
        place = (entry.conv_id, entry.seq // MESSAGE_BUCKET, entry.seq)
        self._session.execute(
            "INSERT INTO message (conv_id, bucket, seq, kind, sender, at, entry)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (*place, "message_edited", entry.sender, entry.at, encode(entry).decode()),
        )
        self._session.execute(
            "INSERT INTO message (conv_id, bucket, seq, edited_by) VALUES (%s, %s, %s, %s)"
            " USING TIMESTAMP %s",
            (entry.conv_id, entry.target // MESSAGE_BUCKET, entry.target, entry.seq, entry.seq),
        )

    def put_recall(self, conv_id: str, seq: int, *seqs: int) -> None:
        """Writes that entry ``seq`` recalled these messages."""
        for each in seqs:
            self._session.execute(
                "INSERT INTO message (conv_id, bucket, seq, recalled_by, entry)"
                " VALUES (%s, %s, %s, %s, '') USING TIMESTAMP %s",
                (conv_id, each // MESSAGE_BUCKET, each, seq, RECALL_TIMESTAMP),
            )

    def put_row(self, user: str, row: SyncRow) -> None:
        """Writes a row of a sync timeline."""
        sync_seq = key_of(row)
        bucket = sync_seq // SYNC_BUCKET
        self._session.execute(
            "INSERT INTO sync_bucket (user_id, bucket) VALUES (%s, %s)", (user, bucket)
        )
        self._session.execute(
            "INSERT INTO sync (user_id, bucket, sync_seq, records) VALUES (%s, %s, %s, %s)",
            (user, bucket, sync_seq, encode_row(row).decode()),
        )

    def put_expiry(self, user: str, since: int, until: int, newest: int) -> None:
        """Writes how long records are retained."""
        self._session.execute(
            "INSERT INTO sync_expiry (user_id, since, until, newest) VALUES (%s, %s, %s, %s)"
            " USING TIMESTAMP %s",
            (user, since, until, newest, newest),
        )


@contextmanager
def tables(settings: Settings) -> Iterator[Rows]:
    """Creates the tables of a namespace for the duration of a test module."""
    with cassandra_session(settings) as session:
        create_tables(session, settings)
        try:
            yield Rows(session)
        finally:
            session.execute(f"DROP KEYSPACE {settings.keyspace}", timeout=60)


@asynccontextmanager
async def cassandra_store(settings: Settings) -> AsyncIterator[CassandraStore]:
    """The connected store of a gateway."""
    store = CassandraStore(settings)
    store.start()
    try:
        await until(store.reachable, seconds=180)
        yield store
    finally:
        await store.stop()


async def answer_if_not_busy(request: Callable[[], Awaitable[Answer]]) -> Answer:
    """The answer to an idempotent request, which is repeated while the gateway is too busy."""
    for _ in range(60):
        answer = await request()
        if answer.status not in BUSY:
            return answer
        await asyncio.sleep(1)
    return answer


class PatientCaller(Caller):
    """A client that repeats a GET while the gateway is too busy.

    On a loaded machine, one slow read of a server causes a 503. It says nothing about the data.
    """

    async def ask(
        self,
        path: str,
        user: str | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Sends a GET with parameters of any name and headers, each time with a new token."""
        ask = super().ask
        return await answer_if_not_busy(lambda: ask(path, user, query, headers))


@asynccontextmanager
async def gateway_on_servers(settings: Settings) -> AsyncIterator[PatientCaller]:
    """A running gateway on the real store and index."""
    index = ElasticIndex(settings)
    try:
        async with cassandra_store(settings) as store, serving(settings, store, index) as caller:
            yield PatientCaller(caller.base, caller.http, caller.settings)
    finally:
        await index.stop()


@contextmanager
def search_index(settings: Settings) -> Iterator[Callable[[list[MessageSent]], None]]:
    """Writes messages to the index of a namespace; they are searchable afterwards."""
    client = elasticsearch_client(settings)

    def put(messages: list[MessageSent]) -> None:
        months = {index_name(settings, message.at): message.at for message in messages}
        for at in months.values():
            create_index(client, settings, at)
        operations = [line for message in messages for line in _document(settings, message)]
        answer = client.bulk(operations=operations, refresh=True)
        assert not answer["errors"], answer

    try:
        yield put
    finally:
        client.indices.delete(index=list(client.indices.get_alias(name=settings.index_alias)))
        client.close()


def _document(settings: Settings, message: MessageSent) -> list[dict[str, object]]:
    """A bulk operation in two lines."""
    text = message.content.text
    target = {
        "_index": index_name(settings, message.at),
        "_id": document_id(message.conv_id, message.seq),
        "routing": message.conv_id,
        "version": message.seq,
        "version_type": "external_gte",
    }
    source = {
        "conv_id": message.conv_id,
        "seq": message.seq,
        "sender": message.sender,
        "at": message.at,
        "text": text,
        "tokens": readings_of(text),
    }
    return [{"index": target}, source]
