"""Read marks in Cassandra: the table ``read_mark``, which two sinks write, each its own columns.

From ``im.timeline`` come people's own messages, which are read by definition; from ``im.sync``
what their devices have marked. Both are maxima, and are written with the SeqId as their
timestamp: the highest wins, in whatever order and however often they come. The third, the entry
that let somebody in, is in the tables of membership.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeVar

from cassandra.cluster import Session
from cassandra.query import BoundStatement, PreparedStatement

from sinks.cassandra.requests import Row, prepare

_ROW_BYTES: Final = 128
"""Of a row in a request, beside its ids."""


class Spoken(NamedTuple):
    """Somebody said entry ``seq``, up to which there are so many messages."""

    origin: int
    conv_id: str
    user: str
    seq: int
    messages: int


class Marked(NamedTuple):
    """Somebody has marked all up to entry ``seq`` as read."""

    origin: int
    conv_id: str
    user: str
    seq: int


PlaceT = TypeVar("PlaceT", Spoken, Marked)


def prepare_own(session: Session) -> PreparedStatement:
    """The insert of `own_rows`.

    Raises:
        TransientFailure: Cassandra does not answer.
        FatalFailure: The table is missing or has another shape.
    """
    return prepare(
        session,
        "INSERT INTO read_mark (conv_id, user_id, own_seq, own_messages) "
        "VALUES (?, ?, ?, ?) USING TIMESTAMP ?",
    )


def prepare_marked(session: Session) -> PreparedStatement:
    """The insert of `marked_rows`. Errors as of `prepare_own`."""
    return prepare(
        session,
        "INSERT INTO read_mark (conv_id, user_id, read_seq) VALUES (?, ?, ?) USING TIMESTAMP ?",
    )


def own_rows(insert: PreparedStatement, spoken: Iterable[Spoken]) -> Iterable[Sequence[Row]]:
    """The last message of each person in each conversation, by partition.

    A partition is a conversation. So a busy one costs a request, and not one for each who speaks.
    """
    return _partitions(
        (each, insert.bind((each.conv_id, each.user, each.seq, each.messages, each.seq)))
        for each in _highest(spoken)
    )


def marked_rows(insert: PreparedStatement, marked: Iterable[Marked]) -> Iterable[Sequence[Row]]:
    """The highest mark of each person in each conversation, by partition."""
    return _partitions(
        (each, insert.bind((each.conv_id, each.user, each.seq, each.seq)))
        for each in _highest(marked)
    )


def _highest(places: Iterable[PlaceT]) -> Iterable[PlaceT]:
    highest: dict[tuple[str, str], PlaceT] = {}
    for place in places:
        key = place.conv_id, place.user
        before = highest.get(key)
        if before is None or before.seq < place.seq:
            highest[key] = place
    return highest.values()


def _partitions(
    bound: Iterable[tuple[Spoken | Marked, BoundStatement]],
) -> Iterable[Sequence[Row]]:
    rows: defaultdict[str, list[Row]] = defaultdict(list)
    for place, insert in bound:
        size = 4 * (len(place.conv_id) + len(place.user)) + _ROW_BYTES
        rows[place.conv_id].append(Row(insert, place.origin, size))
    return rows.values()
