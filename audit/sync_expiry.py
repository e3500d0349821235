"""The table ``sync_expiry`` against the rows of ``sync``: it must cover each row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import NamedTuple, TypeAlias

from audit.report import AuditReport
from audit.sync_shards import AuditedShards, Shard
from schemas.lifetime import SKIPPED_SINCE
from schemas.number_types import SyncSeqId
from schemas.sync_seq import unpack_sync_seq

ExpiryRow: TypeAlias = tuple[str, int, SyncSeqId]
"""(user_id, since, newest)."""


class Notes(NamedTuple):
    """The table, by recipient.

    Attributes:
        expiries: The highest sync SeqId that the notes of retention intervals cover.
        skips: The highest sync SeqId that the sync sink skipped.
    """

    expiries: dict[str, SyncSeqId]
    skips: dict[str, SyncSeqId]


def read_notes(rows: Iterable[ExpiryRow], report: AuditReport) -> Notes:
    """Read the rows of the table, in any order; the report receives the numbers of notes."""
    counts = report.section("sync-store").counts
    expiries: dict[str, SyncSeqId] = {}
    skips: dict[str, SyncSeqId] = {}
    for user, since, newest in rows:
        if since == SKIPPED_SINCE:
            skips[user] = newest
        else:
            counts["expiries"] += 1
            expiries[user] = max(newest, expiries.get(user, newest))
    counts["skip notes"] += len(skips)
    return Notes(expiries, skips)


def allow_skipped(shards: Iterable[Shard], skips: Mapping[str, SyncSeqId]) -> None:
    """Make deliveries optional that the sync sink skipped because their recipient was inactive.

    A reader below a skip note gets `trimmed`, so a missing row up to the note is no difference.

    Args:
        shards: All shards, as `compare_sync_rows` left them.
        skips: See `Notes`.
    """
    if not skips:
        return
    for shard in shards:
        first = shard.first_seq + shard.low
        places = {user.encode(): sync_seq - first for user, sync_seq in skips.items()}
        shard.deliveries.allow_missing({user: at for user, at in places.items() if at >= 0})


def compare_skip_notes(
    skips: Mapping[str, SyncSeqId], shards: AuditedShards, report: AuditReport
) -> None:
    """Report each skip note above everything in the shard of its recipient.

    A reader below such a note gets `trimmed`, also for records that are going to be written.

    Args:
        skips: See `Notes`.
        shards: All shards.
        report: Receives the differences.
    """
    for user, sync_seq in skips.items():
        epoch, offset = unpack_sync_seq(sync_seq)
        shard = shards.of(user, epoch)
        if shard is None:
            newer = partial(shards.has_come, user, epoch)
        elif offset >= shard.end:
            newer = partial(shard.reaches, offset)
        else:
            continue
        where = f"table sync_expiry, sync_seq {sync_seq}"
        report.hold("sync-store", newer, kind="skip_note_ahead", user=user, where=where)


def compare_sync_expiries(
    reached: Mapping[str, SyncSeqId], expiries: Mapping[str, SyncSeqId], report: AuditReport
) -> None:
    """Compare each recipient's newest sync SeqId in the table with the recipient's rows.

    If the table does not cover a row, no reader can detect the expiry of that row.

    Args:
        reached: By recipient, the highest sync SeqId of a row.
        expiries: See `Notes`.
        report: Receives the differences.
    """
    for user, sync_seq in reached.items():
        if expiries.get(user, -1) < sync_seq:
            where = f"table sync_expiry, sync_seq {sync_seq}"
            report.differ("sync-store", "missing", user=user, where=where, sync_seq=sync_seq)
