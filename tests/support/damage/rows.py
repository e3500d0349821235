"""The rows of the table ``sync``, in the form that the damages change."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from audit.sync_store import AuditedSyncRow
from schemas.codec import decode_sync_record
from schemas.number_types import ShardNumber
from schemas.recipients import recipients_of
from schemas.sync_rows import SyncReference, SyncRow, decode_row, encode_row, references
from schemas.sync_seq import epoch_of, sync_seq
from tests.support.audited import System


class Held(NamedTuple):
    """A record in a row.

    Attributes:
        at: The position of the row in `System.sync_rows`.
        user: The recipient.
        conv_id: The conversation, also for a reply.
        seq: The SeqId of the entry; for a reply, the SeqId that the reply names.
        reference: The reference in the row.
    """

    at: int
    user: str
    conv_id: str
    seq: int
    reference: SyncReference


def held(system: System) -> list[Held]:
    """All records in rows: those of epochs after the first, if there are any."""
    last = system.shards.epochs[-1]
    return [
        _held(at, row, each)
        for at, row in enumerate(system.sync_rows)
        if last == 0 or epoch_of(row.sync_seq) > 0
        for each in references(decode_row(row.records or b""))
    ]


def held_once(system: System) -> list[Held]:
    """The records that exactly one row has."""
    found = held(system)
    times = Counter((each.user, each.reference.sync_seq) for each in found)
    return [each for each in found if times[each.user, each.reference.sync_seq] == 1]


def entries_of(found: list[Held]) -> list[Held]:
    """The records that are references to entries."""
    return [each for each in found if each.reference.reply is None]


def _held(at: int, row: AuditedSyncRow, each: SyncReference) -> Held:
    if each.reply is None:
        return Held(at, row.user_id, each.conv_id, each.seq, each)
    record = decode_sync_record(bytes(each.reply))
    return Held(at, row.user_id, record.conv_id, getattr(record, "seq", 0), each)


def row_at(system: System, at: int) -> SyncRow:
    """The content of a row, to be changed and written back with `set_row`."""
    return decode_row(system.sync_rows[at].records or b"")


def set_row(system: System, at: int, row: SyncRow) -> None:
    """Replaces the content of a row."""
    system.sync_rows[at] = system.sync_rows[at]._replace(records=encode_row(row))


def take_out(row: SyncRow, reference: SyncReference) -> None:
    """Removes a reference or a reply from a row."""
    if reference.reply is not None:
        del row.replies[reference.sync_seq]
        return
    pairs = row.entries[reference.conv_id]
    at = pairs[::2].index(reference.sync_seq)
    del pairs[2 * at : 2 * at + 2]
    if not pairs:
        del row.entries[reference.conv_id]


def value_of(system: System, each: Held) -> bytes:
    """The record of ``im.sync`` at the position of a reference."""
    return next(
        value or b""
        for number, offset, key, value in system.sync
        if sync_seq(epoch_of(ShardNumber(number)), offset) == each.reference.sync_seq
        and each.user.encode() in recipients_of(key or b"")
    )
