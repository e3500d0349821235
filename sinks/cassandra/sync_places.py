"""Converts the sync records of a flush to references, to read marks and to mutes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, get_args

from msgspec import Struct

from schemas.codec import decode_position, decode_sync_record
from schemas.errors import PoisonRecord, UndecodableRecord
from schemas.limits import MAX_ENTRY_BYTES
from schemas.number_types import Milliseconds, Offset, SeqId, ShardNumber, SyncSeqId
from schemas.recipients import SEPARATOR, recipients_of
from schemas.records import (
    MAX_ID_LENGTH,
    AnyEntry,
    AnyReply,
    ConversationMuted,
    EntryPosition,
    ReadMarked,
    Retracted,
)
from schemas.sync_seq import epoch_of, sync_seq
from sinks.base.records import Record
from sinks.cassandra.mark_rows import Marked, Muted
from sinks.cassandra.requests import MAX_BIGINT, MAX_PARTITION_KEY_BYTES

MAX_DELIVERIES: Final = 200_000
"""Deliveries in one flush: some 100 MB if no recipient has two records."""

_NOBODY: Final = 2 * SEPARATOR
"""An empty id in a key."""

_MAX_BRACKETS: Final = 600
"""Maximum number of opening brackets in a reply, including its ids. A reply with deeper nesting
than a decoder's recursion limit would make its whole row unreadable."""


def _kind(record: type[Struct]) -> str:
    return str(record.__struct_config__.tag)


_ENTRIES: Final = frozenset(map(_kind, get_args(AnyEntry)))
_REPLIES: Final = frozenset(map(_kind, (*get_args(AnyReply), Retracted)))
_READ_MARKED: Final = _kind(ReadMarked)
_MUTED: Final = _kind(ConversationMuted)


class SyncPlacement(Struct, frozen=True, gc=False):
    """One record in the timelines of its recipients.

    Attributes:
        origin: Position of the record in its batch.
        sync_seq: Sync SeqId.
        conv_id: Conversation.
        seq: SeqId of the entry; 0 in some replies.
        reply: JSON of a reply; None if the record is an entry.
    """

    origin: int
    sync_seq: SyncSeqId
    conv_id: str
    seq: SeqId
    reply: bytes | None


class Sorted(NamedTuple):
    """The records of a flush by their key; the read marks and mutes among them; the poison."""

    by_key: dict[bytes, list[SyncPlacement]]
    marks: list[Marked]
    mutes: list[Muted]
    poison: list[PoisonRecord]


def flushes_of(records: Sequence[Record]) -> list[range]:
    """Positions of each flush: at most `MAX_DELIVERIES`, unless one record has more."""
    ranges: list[range] = []
    start = deliveries = 0
    for at, record in enumerate(records):
        recipients = (record.key or b"").count(SEPARATOR) + 1
        if deliveries and deliveries + recipients > MAX_DELIVERIES:
            ranges.append(range(start, at))
            start, deliveries = at, 0
        deliveries += recipients
    if start < len(records):
        ranges.append(range(start, len(records)))
    return ranges


def sort_out(records: Sequence[Record], flush: range) -> Sorted:
    """Decodes and groups the records of one flush."""
    by_key: dict[bytes, list[SyncPlacement]] = {}
    marks: list[Marked] = []
    mutes: list[Muted] = []
    poison: list[PoisonRecord] = []
    bases = {each: _first_place(each) for each in {r.partition for r in records}}
    for origin in flush:
        record = records[origin]
        key = record.key or b""
        try:
            places = by_key.get(key)
            if places is None:
                _check_key(key)
                places = by_key[key] = []
            position = decode_position(record.value)
            seq, conv_id = position.seq, position.conv_id
            reply = _reply(position, record.value or b"")
            until = _until(record.value) if position.kind == _MUTED else None
        except UndecodableRecord as error:
            poison.append(PoisonRecord(origin, str(error)))
            continue
        place = SyncSeqId(bases[record.partition] | record.offset)
        places.append(SyncPlacement(origin, place, conv_id, seq, reply))
        if position.kind == _READ_MARKED:
            marks += [Marked(origin, conv_id, u.decode(), seq) for u in recipients_of(key)]
        elif until is not None:
            users = recipients_of(key)
            mutes += [Muted(origin, conv_id, user.decode(), place, until) for user in users]
    by_key = {key: places for key, places in by_key.items() if places}
    return Sorted(by_key, marks, mutes, poison)


def _until(value: bytes | None) -> Milliseconds:
    """The end of a mute.

    Raises:
        UndecodableRecord: The record has none.
    """
    record = decode_sync_record(value)
    assert isinstance(record, ConversationMuted)  # noqa: S101 - by its kind
    return record.until


def _first_place(partition: int) -> SyncSeqId:
    return sync_seq(epoch_of(ShardNumber(partition)), Offset(0))


def _check_key(key: bytes) -> None:
    """Checks the ids of a key.

    Raises:
        UndecodableRecord: The key has an id that the table cannot hold.
    """
    if not key or _NOBODY in key or key[:1] == SEPARATOR or key[-1:] == SEPARATOR:
        raise UndecodableRecord("the key names no recipient")
    if (
        len(key) > MAX_PARTITION_KEY_BYTES
        and max(map(len, recipients_of(key))) > MAX_PARTITION_KEY_BYTES
    ):
        raise UndecodableRecord("the key names no recipient")
    try:
        key.decode()
    except UnicodeDecodeError:
        raise UndecodableRecord("the key is not UTF-8") from None


def _reply(position: EntryPosition, value: bytes) -> bytes | None:
    """The value if the record is a reply; None if it is an entry.

    Raises:
        UndecodableRecord: A timeline cannot hold the record.
    """
    is_entry = position.kind in _ENTRIES
    if not is_entry and position.kind not in _REPLIES:
        raise UndecodableRecord("neither an entry nor a reply that this version knows")
    if not is_entry <= position.seq <= MAX_BIGINT:
        raise UndecodableRecord("the SeqId is out of its range")
    if len(position.conv_id) > MAX_ID_LENGTH:
        raise UndecodableRecord("the conversation's id is too long")
    try:
        value.decode()  # includes strings that the decoder skipped
    except UnicodeDecodeError:
        raise UndecodableRecord("the record is not UTF-8") from None
    return None if is_entry else _checked_reply(value)


def _checked_reply(value: bytes) -> bytes:
    """Checks that a row can hold a reply, and returns the reply.

    Raises:
        UndecodableRecord: The reply is too long, or nested too deeply.
    """
    if len(value) > MAX_ENTRY_BYTES:
        raise UndecodableRecord("the reply is too long")
    if value.count(b"[") + value.count(b"{") > _MAX_BRACKETS:
        raise UndecodableRecord("the reply is nested too deeply")
    return value
