"""Where sync records belong in Cassandra, and which of them mean more than a row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec import Struct

from schemas.codec import decode_position
from schemas.errors import PoisonRecord, UndecodableRecord
from schemas.limits import SYNC_BUCKET
from schemas.recipients import recipients_of
from schemas.records import ReadMarked
from schemas.sync_seq import epoch_of, sync_seq
from sinks.base.records import Record
from sinks.cassandra.erasure import KINDS as RECALLS
from sinks.cassandra.erasure import MAX_AT, Recall, recall_of, row_timestamp
from sinks.cassandra.marks import Marked
from sinks.cassandra.requests import MAX_BIGINT, MAX_KEY_BYTES

_READ_MARKED: Final = str(ReadMarked.__struct_config__.tag)

Pair = tuple[bytes, int]
"""A recipient (UTF-8) and a bucket: one partition of the table ``sync``."""


class Place(Struct, frozen=True, gc=False):
    """A record on its way, and where it belongs. ``written_at``: the timestamp of its row."""

    origin: int
    written_at: int
    sync_seq: int
    conv_id: str
    seq: int
    value: bytes
    kind: str


class Sorted(NamedTuple):
    """The records of a batch by their partition; marks and recalls among them; those of none."""

    pairs: dict[Pair, list[Place]]
    marks: list[Marked]
    recalls: list[Recall]
    poison: list[PoisonRecord]


def sort_out(records: Sequence[Record]) -> Sorted:
    """Finds out where each record belongs."""
    pairs: defaultdict[Pair, list[Place]] = defaultdict(list)
    marks: list[Marked] = []
    recalls: list[Recall] = []
    poison: list[PoisonRecord] = []
    for origin, record in enumerate(records):
        try:
            place = _place(origin, record)
            users = recipients_of(record.key or b"")
            if place.kind in RECALLS:
                recalls += [
                    recall_of(origin, user.decode(), place.sync_seq, place.value) for user in users
                ]
        except UndecodableRecord as error:
            poison.append(PoisonRecord(origin, str(error)))
        else:
            for user in users:
                pairs[user, place.sync_seq // SYNC_BUCKET].append(place)
            if place.kind == _READ_MARKED:
                marks += [
                    Marked(origin, place.conv_id, user.decode(), place.seq) for user in users
                ]
    return Sorted(pairs, marks, recalls, poison)


def _place(origin: int, record: Record) -> Place:
    """Where a record belongs.

    Raises:
        UndecodableRecord: It has no recipient, or its bytes are not what a table can hold.
    """
    position = decode_position(record.value)
    key, value = record.key or b"", record.value or b""
    if not all(0 < len(user) <= MAX_KEY_BYTES for user in recipients_of(key)):
        raise UndecodableRecord("the key names no recipient")
    if not 0 <= position.seq <= MAX_BIGINT:
        raise UndecodableRecord("the SeqId is out of its range")
    if position.kind == _READ_MARKED and len(position.conv_id.encode()) > MAX_KEY_BYTES:
        raise UndecodableRecord("the conversation's id is too long")
    try:
        key.decode()
        value.decode()  # strings that the decoder skipped, too
    except UnicodeDecodeError:
        raise UndecodableRecord("the record is not UTF-8") from None
    if not 0 <= position.at <= MAX_AT:
        raise UndecodableRecord("the time is out of its range")
    number = sync_seq(epoch_of(record.partition), record.offset)
    at = row_timestamp(position.at)
    return Place(origin, at, number, position.conv_id, position.seq, value, position.kind)
