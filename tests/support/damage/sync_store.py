"""Damages to the sync timelines in the store."""

from __future__ import annotations

from msgspec import Raw, structs

from audit.sync_store import AuditedSyncRow
from schemas.buckets import sync_bucket
from schemas.codec import decode_sync_record, encode
from schemas.limits import SYNC_BUCKET
from schemas.number_types import BucketNumber, EpochNumber, Offset, ShardNumber, SyncSeqId
from schemas.records import AnyReply, Retracted
from schemas.sync_rows import SyncRow, encode_row
from schemas.sync_seq import epoch_of, sync_seq
from tests.support.audited import System
from tests.support.damage.rows import (
    Held,
    entries_of,
    held,
    held_once,
    row_at,
    set_row,
    take_out,
    value_of,
)
from tests.support.damage.tools import (
    STRANGER,
    Expected,
    Pick,
    damage,
    drop_empty_bucket,
    end_of,
    twins,
    with_column,
)


def _missing(each: Held) -> Expected:
    return Expected("sync-store", "missing", each.conv_id, each.seq, each.user)


@damage
def _sync_store_loses_a_row(system: System, pick: Pick) -> Expected:
    each = pick.one(held_once(system))
    row = system.sync_rows.pop(each.at)
    drop_empty_bucket(system, row.user_id, row.bucket)
    return _missing(each)


@damage
def _sync_store_loses_a_row_above_a_skip_note(system: System, pick: Pick) -> Expected:
    """A skip note covers only the records up to the note."""
    rows = system.sync_rows
    each = pick.one(
        [one for one in held_once(system) if one.reference.sync_seq == rows[one.at].sync_seq]
    )
    system.skip_notes.append((each.user, SyncSeqId(each.reference.sync_seq - 1)))
    row = rows.pop(each.at)
    drop_empty_bucket(system, row.user_id, row.bucket)
    return _missing(each)


@damage
def _sync_store_has_a_skip_note_ahead(system: System, pick: Pick) -> Expected:
    """Behind the end of the recipient's shard, or in an epoch that was never declared."""
    user = pick.one(held(system)).user
    home = system.last_home(user)
    epoch = epoch_of(ShardNumber(home))
    end = sync_seq(epoch, Offset(end_of(system.sync, home)))
    far = SyncSeqId(end + 10 * SYNC_BUCKET)
    newest = pick.one((end, far, sync_seq(EpochNumber(epoch + 1), Offset(0))))
    system.skip_notes.append((user, newest))
    return Expected("sync-store", "skip_note_ahead", user=user)


@damage
def _sync_store_loses_a_reference(system: System, pick: Pick) -> Expected:
    """Removes a reference, but not the last: the key stays the row's highest sync SeqId."""
    inner = [
        each
        for each in held_once(system)
        if each.reference.sync_seq != system.sync_rows[each.at].sync_seq
    ]
    each = pick.one(inner)
    row = row_at(system, each.at)
    take_out(row, each.reference)
    set_row(system, each.at, row)
    return _missing(each)


@damage
def _sync_store_has_a_reference_in_a_later_row(system: System, pick: Pick) -> Expected:
    """A reader has passed the reference's position when the reader reaches the later row."""
    rows = system.sync_rows
    each = pick.one(
        [
            one
            for one in held_once(system)
            if one.reference.sync_seq != rows[one.at].sync_seq
            and rows[one.at][:2] == rows[(one.at + 1) % len(rows)][:2]
        ]
    )
    row, later = row_at(system, each.at), row_at(system, each.at + 1)
    take_out(row, each.reference)
    if each.reference.reply is None:
        pairs = later.entries.get(each.conv_id, [])
        later.entries[each.conv_id] = [each.reference.sync_seq, each.seq, *pairs]
    else:
        later.replies[each.reference.sync_seq] = each.reference.reply
    set_row(system, each.at, row)
    set_row(system, each.at + 1, later)
    return Expected("sync-store", "out_of_order", each.conv_id, each.seq, each.user)


@damage
def _sync_store_has_a_reference_twice_in_a_row(system: System, pick: Pick) -> Expected:
    each = pick.one(entries_of(held(system)))
    row = row_at(system, each.at)
    row.entries[each.conv_id] += [each.reference.sync_seq, each.seq]
    set_row(system, each.at, row)
    return Expected("sync-store", "double", each.conv_id, each.seq, each.user)


@damage
def _sync_store_alters_a_reference(system: System, pick: Pick) -> Expected:
    each = pick.one(entries_of(held(system)))
    conv_id, seq = pick.one([("nowhere", each.seq), (each.conv_id, 999), (each.conv_id, 0)])
    row = row_at(system, each.at)
    take_out(row, each.reference)
    row.entries.setdefault(conv_id, []).extend((each.reference.sync_seq, seq))
    set_row(system, each.at, row)
    return Expected("sync-store", "altered", conv_id, seq, each.user)


@damage
def _sync_store_alters_a_reply(system: System, pick: Pick) -> Expected:
    each = pick.one(_replies(system))
    row = row_at(system, each.at)
    record = decode_sync_record(bytes(row.replies[each.reference.sync_seq]))
    assert isinstance(record, AnyReply | Retracted)
    other = structs.replace(record, at=record.at + 1)
    row.replies[each.reference.sync_seq] = Raw(encode(other))
    set_row(system, each.at, row)
    return Expected("sync-store", "altered", each.conv_id, each.seq, each.user)


@damage
def _sync_store_has_a_reply_in_place_of_an_entry(system: System, pick: Pick) -> Expected:
    each = pick.one(entries_of(held(system)))
    reply = pick.one(_replies(system)).reference.reply
    assert reply is not None
    row = row_at(system, each.at)
    take_out(row, each.reference)
    row.replies[each.reference.sync_seq] = reply
    set_row(system, each.at, row)
    return Expected("sync-store", "altered", user=each.user)


@damage
def _sync_store_has_an_entry_in_place_of_a_reply(system: System, pick: Pick) -> Expected:
    each = pick.one(_replies(system))
    row = row_at(system, each.at)
    take_out(row, each.reference)
    row.entries.setdefault("c1", []).extend((each.reference.sync_seq, 2))
    set_row(system, each.at, row)
    return Expected("sync-store", "altered", "c1", 2, each.user)


@damage
def _sync_store_has_a_text(system: System, pick: Pick) -> Expected:
    each = pick.one(entries_of(held(system)))
    row = row_at(system, each.at)
    take_out(row, each.reference)
    row.replies[each.reference.sync_seq] = Raw(value_of(system, each))
    set_row(system, each.at, row)
    return Expected("sync-store", "entry_inline", each.conv_id, each.seq, each.user)


@damage
def _sync_store_has_a_row_that_is_too_long(system: System, pick: Pick) -> Expected:
    each = pick.one(entries_of(held(system)))
    row = row_at(system, each.at)
    row.entries[each.conv_id] += [each.reference.sync_seq, each.seq] * 100
    set_row(system, each.at, row)
    return Expected("sync-store", "row_too_long", user=each.user)


@damage
def _sync_store_has_no_row_there(system: System, pick: Pick) -> Expected:
    at = pick.one(held(system)).at
    other = pick.one((None, b"", b"[]", b"\xff", b'{"entries":{"c1":[1]}}', b'{"text":"hi"}'))
    system.sync_rows[at] = with_column(system.sync_rows[at], "records", other)
    return Expected("sync-store", "undecodable", user=system.sync_rows[at].user_id)


@damage
def _sync_store_has_a_row_with_another_key(system: System, pick: Pick) -> Expected:
    at = pick.one(held(system)).at
    row = system.sync_rows[at]
    # Offsets are even here, so there is no record between this key and the next.
    system.sync_rows[at] = with_column(row, "sync_seq", row.sync_seq + 1)
    return Expected("sync-store", "wrong_key", user=row.user_id)


@damage
def _sync_store_has_a_row_in_another_bucket(system: System, pick: Pick) -> Expected:
    at = pick.one(held(system)).at
    row = system.sync_rows[at]
    system.sync_rows[at] = with_column(row, "bucket", pick.one((row.bucket + 1, -1)))
    return Expected("sync-store", "misplaced", user=row.user_id)


@damage
def _sync_store_has_a_row_in_another_epoch(system: System, pick: Pick) -> Expected:
    at = pick.one(held(system)).at
    row = system.sync_rows[at]
    system.sync_rows[at] = with_column(row, "sync_seq", pick.one((row.sync_seq + (1 << 48), -1)))
    return Expected("sync-store", "misplaced", user=row.user_id)


@damage
def _sync_store_gives_a_row_to_another(system: System, pick: Pick) -> Expected:
    at = pick.one(held(system)).at
    row = system.sync_rows[at]
    # If each recipient has their own shard, the row is in the shard of no other person.
    found = twins(system, system.home(row.user_id, epoch_of(row.sync_seq)))
    twin = next(iter(found), STRANGER)
    system.sync_rows[at] = with_column(row, "user_id", twin)
    return Expected("sync-store", "extra" if found else "misplaced", user=twin)


@damage
def _sync_store_has_a_row_of_its_own(system: System, pick: Pick) -> Expected:
    each = pick.one(entries_of(held(system)))
    row = system.sync_rows[each.at]
    epoch = epoch_of(row.sync_seq)
    end = sync_seq(epoch, Offset(end_of(system.sync, system.home(row.user_id, epoch))))
    place = SyncSeqId(pick.one((row.sync_seq + 1, end, end + 10 * SYNC_BUCKET)))
    own = encode_row(SyncRow({each.conv_id: [place, each.seq]}, {}))
    system.sync_rows.append(AuditedSyncRow(row.user_id, sync_bucket(place), place, own))
    return Expected("sync-store", "extra", each.conv_id, each.seq, row.user_id)


@damage
def _sync_store_forgets_a_bucket(system: System, pick: Pick) -> Expected:
    user, _ = system.buckets.pop(pick.index(system.buckets))
    return Expected("sync-store", "missing", user=user)


@damage
def _sync_store_lists_a_bucket_of_its_own(system: System, pick: Pick) -> Expected:
    user, bucket = pick.one(system.buckets)
    place = pick.one(((STRANGER, bucket), (user, BucketNumber(1_000))))
    system.buckets.append(place)
    return Expected("sync-store", "extra", user=place[0])


@damage
def _sync_store_does_not_tell_of_a_row(system: System, pick: Pick) -> Expected:
    at = pick.index(system.expiries)
    user, newest = system.expiries.pop(at)
    system.expiries += pick.one(([], [(user, SyncSeqId(newest - 1))]))
    return Expected("sync-store", "missing", user=user)


def _replies(system: System) -> list[Held]:
    """The replies in rows, of any epoch."""
    return [each for each in held(system) if each.reference.reply is not None]
