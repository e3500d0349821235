"""Decodes the records of ``im.timeline`` for the tables of conversations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

from schemas.codec import decode_entry
from schemas.errors import PoisonRecord, UndecodableRecord
from schemas.limits import MESSAGE_BUCKET
from schemas.records import AnyEntry, ConversationCreated, MembersAdded, MembersRemoved
from sinks.base.records import Record
from sinks.cassandra.altered_rows import altered
from sinks.cassandra.requests import MAX_BIGINT, MAX_PARTITION_KEY_BYTES

_MAX_SEQ: Final = MESSAGE_BUCKET * (1 << 31) - 1
"""The highest SeqId whose bucket number has 32 bits, as in the tables."""

MembershipEntry: TypeAlias = ConversationCreated | MembersAdded | MembersRemoved


class Logged(NamedTuple):
    """An entry, its bytes in the log, and its position in the batch."""

    origin: int
    entry: AnyEntry
    text: str


def logged_entries(records: Sequence[Record]) -> tuple[list[Logged], list[PoisonRecord]]:
    """The entries of a batch, and the records that are not entries."""
    logged: list[Logged] = []
    poison: list[PoisonRecord] = []
    for index, record in enumerate(records):
        try:
            entry = decode_entry(record.value)
            text = (record.value or b"").decode()
            _check_range(entry)
        except UnicodeDecodeError:
            poison.append(PoisonRecord(index, "the record is not UTF-8"))
        except UndecodableRecord as error:
            poison.append(PoisonRecord(index, str(error)))
        else:
            logged.append(Logged(index, entry, text))
    return logged, poison


def _check_range(entry: AnyEntry) -> None:
    if not (0 < entry.seq <= _MAX_SEQ and 0 <= entry.at <= MAX_BIGINT):
        raise UndecodableRecord("the SeqId or the time is out of its range")
    if any(not 0 < seq < entry.seq for seq in altered(entry)):
        raise UndecodableRecord("it alters an entry that is not before it")
    named = entry.members if isinstance(entry, MembershipEntry) else ()
    if any(
        len(each.encode()) > MAX_PARTITION_KEY_BYTES
        for each in (entry.conv_id, entry.sender, *named)
    ):
        raise UndecodableRecord("an id is too long")
