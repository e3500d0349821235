"""Conversation timelines in Cassandra: messages, memberships, and the state of conversations."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from typing import Final, TypeAlias

from cassandra.cluster import Session
from msgspec import UNSET

from backends.cassandra.memberships import (
    join_place,
    leave_place,
    member_bucket,
    user_bucket,
)
from schemas.buckets import message_bucket
from schemas.errors import PoisonRecord, TransientFailure
from schemas.number_types import BucketNumber
from schemas.records import (
    AnyEntry,
    ConversationCreated,
    ConversationDescribed,
    FanoutChanged,
    MembersAdded,
    MembersRemoved,
    MessageSent,
    OwnershipTransferred,
)
from sinks.base.records import Record
from sinks.base.writer_port import WriteOutcome
from sinks.cassandra.altered_rows import AlterationRows
from sinks.cassandra.cassandra_writer import CassandraWriter
from sinks.cassandra.logged_entries import Logged, MembershipEntry, logged_entries
from sinks.cassandra.mark_rows import SentMessage, last_message_rows, prepare_last_message
from sinks.cassandra.requests import Row, execute, prepare_statement, shared_requests

_ROW_OVERHEAD: Final = 128
"""Size of a row in a request without its text, in bytes."""

_Rows: TypeAlias = Callable[[Sequence[Logged]], Iterable[Sequence[Row]]]
"""Makes the rows of one step."""


class StorePart(Enum):
    """The kinds of rows that an entry has."""

    MEMBERSHIP = "membership"
    ALTERATION = "alteration"
    MESSAGE = "message"
    OWN_MARK = "own mark"
    CONVERSATION = "conversation"


class MessageWriter(CassandraWriter):
    """Writes entries in four steps, each durable before the next begins.

    1. Memberships, so that read access is known before a message becomes visible.
    2. Messages, and the read marks of their senders.
    3. Alterations: the last edit (already stored by step 2), and recalls.
    4. Conversations: a head moves when all entries up to it are stored and recalls are applied.

    Rows of the table ``conversation`` are written with the SeqId as their timestamp, so that the
    latest entry wins in each column, in any order and number of writes.

    Args:
        session: A session in the keyspace of the deployment.

    Raises:
        TransientFailure: Cassandra does not answer.
        FatalFailure: A table is missing or has another shape.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._by_user = prepare_statement(
            session,
            "INSERT INTO membership_by_user "
            "(user_id, bucket, conv_id, place, seq, since, joined, messages, at, history_rule) "
            "VALUES (:user_id, :bucket, :conv_id, :place, :seq, :since, :joined, :messages, :at, "
            ":history_rule) USING TIMESTAMP :seq",
        )
        self._by_conversation = prepare_statement(
            session,
            "INSERT INTO membership_by_conversation "
            "(conv_id, bucket, user_id, seq, joined, history_rule, at) VALUES (:conv_id, :bucket, "
            ":user_id, :seq, :joined, :history_rule, :at) USING TIMESTAMP :seq",
        )
        self._message = prepare_statement(
            session,
            "INSERT INTO message (conv_id, bucket, seq, kind, sender, at, messages, entry) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        self._conversation = prepare_statement(
            session,
            "INSERT INTO conversation "
            "(conv_id, head, messages, at, owner, join_rule, mode, history_rule, member_count, "
            "name, metadata) VALUES (:conv_id, :head, :messages, :at, :owner, :join_rule, :mode, "
            ":history_rule, :member_count, :name, :metadata) USING TIMESTAMP :seq",
        )
        self._last_message = prepare_last_message(session)
        self._alterations = AlterationRows(session)
        self._rows_of: dict[StorePart, _Rows] = {
            StorePart.MEMBERSHIP: self._membership_rows,
            StorePart.ALTERATION: self._alteration_rows,
            StorePart.MESSAGE: self._message_rows,
            StorePart.OWN_MARK: self._own_mark_rows,
            StorePart.CONVERSATION: self._conversation_rows,
        }

    def write(self, records: Sequence[Record]) -> WriteOutcome:
        """See `sinks.base.writer_port.StoreWriter.write`."""
        steps = (
            self._membership_rows,
            self._second_rows,
            self._alteration_rows,
            self._conversation_rows,
        )
        return self._write_steps(records, steps)

    def write_part(self, part: StorePart, records: Sequence[Record]) -> WriteOutcome:
        """Writes only the rows of one kind, as a step of `write`."""
        return self._write_steps(records, [self._rows_of[part]])

    def _write_steps(self, records: Sequence[Record], steps: Iterable[_Rows]) -> WriteOutcome:
        logged, poison = logged_entries(records)
        for rows in steps:
            refused = self._write_all(rows(logged))
            poison += refused
            refused_indexes = {each.index for each in refused}
            logged = [item for item in logged if item.origin not in refused_indexes]
        return WriteOutcome(poison)

    def _write_all(self, partitions: Iterable[Sequence[Row]]) -> Sequence[PoisonRecord]:
        """Writes rows, and returns the refused ones.

        Raises:
            TransientFailure: A row is not durable, so that the next step must not begin.
        """
        outcome = execute(self.session, shared_requests(partitions))
        if outcome.to_retry:
            raise TransientFailure(outcome.retry_reason)
        return outcome.poison

    def _membership_rows(self, logged: Iterable[Logged]) -> Iterable[list[Row]]:
        """Step 1."""
        users: defaultdict[tuple[str, BucketNumber], list[Row]] = defaultdict(list)
        buckets: defaultdict[tuple[str, BucketNumber], list[Row]] = defaultdict(list)
        for origin, entry, _ in logged:
            if isinstance(entry, MembershipEntry):
                conv = entry.conv_id
                user_bucket_id = user_bucket(conv)
                for user in entry.members:
                    row_key = {"user_id": user, "bucket": user_bucket_id, "conv_id": conv}
                    by_user = self._by_user.bind(row_key | row_by_user(entry, user))
                    bucket = member_bucket(user)
                    row_key = {"conv_id": conv, "bucket": bucket, "user_id": user}
                    by_conv = self._by_conversation.bind(row_key | _row_by_conversation(entry))
                    size = len(user) + len(conv) + _ROW_OVERHEAD
                    users[user, user_bucket_id].append(Row(by_user, origin, size))
                    buckets[conv, bucket].append(Row(by_conv, origin, size))
        return [*users.values(), *buckets.values()]

    def _second_rows(self, logged: Sequence[Logged]) -> Iterable[Sequence[Row]]:
        """Step 2."""
        return itertools.chain(self._message_rows(logged), self._own_mark_rows(logged))

    def _own_mark_rows(self, logged: Iterable[Logged]) -> Iterable[Sequence[Row]]:
        sent_messages = (
            SentMessage(origin, entry.conv_id, entry.sender, entry.seq, entry.messages)
            for origin, entry, _ in logged
            if isinstance(entry, MessageSent)
        )
        return last_message_rows(self._last_message, sent_messages)

    def _message_rows(self, logged: Iterable[Logged]) -> Iterable[list[Row]]:
        buckets: defaultdict[tuple[str, BucketNumber], list[Row]] = defaultdict(list)
        for origin, entry, text in logged:
            bucket = message_bucket(entry.seq)
            place = (entry.conv_id, bucket, entry.seq)
            metadata = (_kind(entry), entry.sender, entry.at, entry.messages)
            insert = self._message.bind((*place, *metadata, text))
            row = Row(insert, origin, 4 * len(text) + _ROW_OVERHEAD)
            buckets[entry.conv_id, bucket].append(row)
        return buckets.values()

    def _alteration_rows(self, logged: Iterable[Logged]) -> Iterable[Sequence[Row]]:
        """Step 3."""
        return self._alterations.rows((origin, entry) for origin, entry, _ in logged)

    def _conversation_rows(self, logged: Iterable[Logged]) -> Iterable[list[Row]]:
        """Step 4. Only the values that no later entry of the batch overwrites."""
        latest: dict[str, dict[tuple[str, ...], Row]] = {}
        for origin, entry, _ in sorted(logged, key=lambda item: item.entry.seq):
            rows = latest.setdefault(entry.conv_id, {})
            for columns in _columns(entry):
                values = {"conv_id": entry.conv_id, "seq": entry.seq, **columns}
                size = _ROW_OVERHEAD + _text_bytes(columns)
                rows[tuple(columns)] = Row(self._conversation.bind(values), origin, size)
        return [list(rows.values()) for rows in latest.values()]


def _row_by_conversation(entry: MembershipEntry) -> dict[str, int | bool | str | None]:
    """The row of ``membership_by_conversation``. A leave overwrites the rule of the join."""
    is_leave = isinstance(entry, MembersRemoved)
    rule = None if isinstance(entry, MembersRemoved) else entry.history
    return {"seq": entry.seq, "joined": not is_leave, "history_rule": rule, "at": entry.at}


def row_by_user(entry: MembershipEntry, user: str) -> dict[str, int | bool | str]:
    """The row of ``membership_by_user``: `memberships` defines its ``place``."""
    common = {"seq": entry.seq, "messages": entry.messages, "at": entry.at}
    if isinstance(entry, MembersRemoved):
        number = (entry.periods or {}).get(user, 0)
        return {"place": leave_place(number), "since": 0, "joined": False, **common}
    periods = entry.periods or {} if isinstance(entry, MembersAdded) else {}
    number, since = periods.get(user, (0, entry.seq))
    join = {"place": join_place(number), "since": since, "joined": True}
    return {**join, "history_rule": entry.history, **common}


def _columns(entry: AnyEntry) -> Iterator[dict[str, str | int]]:
    """The columns of ``conversation`` that an entry sets, in groups that are set as a whole."""
    yield {"head": entry.seq, "messages": entry.messages, "at": entry.at}
    if isinstance(entry, MembershipEntry | FanoutChanged):
        yield {"mode": entry.mode}
    if isinstance(entry, MembershipEntry) and entry.member_count is not UNSET:
        yield {"member_count": entry.member_count}
    if isinstance(entry, ConversationDescribed):
        if entry.name is not UNSET:
            yield {"name": entry.name}
        if entry.metadata is not UNSET:
            yield {"metadata": entry.metadata}
    if isinstance(entry, ConversationCreated):
        yield {"join_rule": entry.join, "history_rule": entry.history}
        yield {"owner": entry.sender}
    if isinstance(entry, OwnershipTransferred):
        yield {"owner": entry.owner}


def _text_bytes(columns: dict[str, str | int]) -> int:
    """The highest possible size of the texts in a row, in bytes."""
    return sum(4 * len(value) for value in columns.values() if isinstance(value, str))


def _kind(entry: AnyEntry) -> str:
    return str(entry.__struct_config__.tag)
