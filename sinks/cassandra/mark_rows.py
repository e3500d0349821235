"""Read marks and mutes in Cassandra: the table ``read_mark``. Two sinks write their own columns.

The message sink writes people's own last messages, which count as read. The sync sink writes the
marks of people's devices. Both values are maxima and are written with their SeqId as the
timestamp, so the highest SeqId wins, in any order and number of writes. The third part of a read
mark, the entry of the last join, is in the tables of membership.

The sync sink also writes the mutes of people. The sync SeqId of a mute is its timestamp, so the
last mute wins, in any order and number of writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple, TypeVar

from cassandra.cluster import Session
from cassandra.query import BoundStatement, PreparedStatement

from backends.cassandra.tables import FIRST_MUTE_TIMESTAMP
from schemas.number_types import Milliseconds, SeqId, SyncSeqId
from sinks.cassandra.requests import Row, prepare_statement

_ROW_BYTES: Final = 128
"""Size of a row in a request, without its ids."""

_ROWS_PER_REQUEST: Final = 10
"""Rows in one request. Each row is a partition with its own replicas, and the server warns about
requests with more partitions."""


class SentMessage(NamedTuple):
    """A person sent message ``seq``. ``messages`` is the number of messages up to ``seq``."""

    origin: int
    conv_id: str
    user: str
    seq: SeqId
    messages: int


class Marked(NamedTuple):
    """A person has marked all entries up to ``seq`` as read."""

    origin: int
    conv_id: str
    user: str
    seq: SeqId


class Muted(NamedTuple):
    """A person has muted a conversation until a time, in milliseconds since 1970."""

    origin: int
    conv_id: str
    user: str
    seq: SyncSeqId
    until: Milliseconds


PlaceT = TypeVar("PlaceT", SentMessage, Marked, Muted)


def prepare_last_message(session: Session) -> PreparedStatement:
    """The insert of `last_message_rows`.

    Raises:
        TransientFailure: Cassandra does not answer.
        FatalFailure: The table is missing or has another shape.
    """
    return prepare_statement(
        session,
        "INSERT INTO read_mark (conv_id, user_id, own_seq, own_messages) "
        "VALUES (?, ?, ?, ?) USING TIMESTAMP ?",
    )


def prepare_marked(session: Session) -> PreparedStatement:
    """The insert of `marked_rows`. Errors as for `prepare_last_message`."""
    return prepare_statement(
        session,
        "INSERT INTO read_mark (conv_id, user_id, read_seq) VALUES (?, ?, ?) USING TIMESTAMP ?",
    )


def prepare_muted(session: Session) -> PreparedStatement:
    """The insert of `muted_rows`. Errors as for `prepare_last_message`."""
    return prepare_statement(
        session,
        "INSERT INTO read_mark (conv_id, user_id, muted_until) VALUES (?, ?, ?) USING TIMESTAMP ?",
    )


def last_message_rows(
    insert: PreparedStatement, sent_messages: Iterable[SentMessage]
) -> Iterable[Sequence[Row]]:
    """The rows with the last message of each person in each conversation, some at a time."""
    return _batched(
        (each, insert.bind((each.conv_id, each.user, each.seq, each.messages, each.seq)))
        for each in _highest(sent_messages)
    )


def marked_rows(insert: PreparedStatement, marked: Iterable[Marked]) -> Iterable[Sequence[Row]]:
    """The rows with the highest mark of each person in each conversation, some at a time."""
    return _batched(
        (each, insert.bind((each.conv_id, each.user, each.seq, each.seq)))
        for each in _highest(marked)
    )


def muted_rows(insert: PreparedStatement, muted: Iterable[Muted]) -> Iterable[Sequence[Row]]:
    """The rows with the last mute of each person in each conversation, some at a time."""
    return _batched(
        (
            each,
            insert.bind((each.conv_id, each.user, each.until, each.seq + FIRST_MUTE_TIMESTAMP)),
        )
        for each in _highest(muted)
    )


def _highest(places: Iterable[PlaceT]) -> Iterable[PlaceT]:
    highest: dict[tuple[str, str], PlaceT] = {}
    for place in places:
        key = place.conv_id, place.user
        before = highest.get(key)
        if before is None or before.seq < place.seq:
            highest[key] = place
    return highest.values()


def _batched(
    bound: Iterable[tuple[SentMessage | Marked | Muted, BoundStatement]],
) -> Iterator[Sequence[Row]]:
    rows = (
        Row(insert, place.origin, 4 * (len(place.conv_id) + len(place.user)) + _ROW_BYTES)
        for place, insert in bound
    )
    while batch := list(islice(rows, _ROWS_PER_REQUEST)):
        yield batch
