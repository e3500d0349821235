"""Damages to the sync timelines in the store."""

from __future__ import annotations

from typing import Any

from schemas.limits import SYNC_BUCKET
from schemas.sync_seq import epoch_of, sync_seq
from tests.support.audited import System
from tests.support.damage.tools import (
    STRANGER,
    Expected,
    Pick,
    damage,
    drop_empty_bucket,
    end_of,
    place_of,
    rows_at,
    with_column,
)


@damage
def _sync_store_loses_a_row(system: System, pick: Pick) -> Expected:
    row = system.sync_rows.pop(pick.one(rows_at(system)))
    drop_empty_bucket(system, row[0], row[1])
    return Expected("sync-store", "missing", row[3] or "", row[4] or 0, row[0])


@damage
def _sync_store_has_a_row_twice(system: System, pick: Pick) -> Expected:
    row = system.sync_rows[pick.one(rows_at(system))]
    system.sync_rows.append(row)
    return Expected("sync-store", "double", row[3] or "", row[4] or 0, row[0])


@damage
def _sync_store_alters_a_row(system: System, pick: Pick) -> Expected:
    at, column = pick.one(rows_at(system)), pick.one((3, 4, 5))
    row = system.sync_rows[at]
    other: Any = {3: "nowhere", 4: 999, 5: (row[5] or b"") + b" "}[column]
    system.sync_rows[at] = with_column(
        row, column, pick.one((None, other) if row[column] else (other,))
    )
    return Expected("sync-store", "altered", user=row[0])


@damage
def _sync_store_has_a_text_after_its_recall(system: System, pick: Pick) -> Expected:
    holes = [at for at, row in enumerate(system.sync_rows) if b'"recalled"' in (row[5] or b"")]
    at = pick.one(holes)
    row = system.sync_rows[at]
    text = next(record[3] for record in system.sync if place_of(record) == (row[0], row[2]))
    system.sync_rows[at] = with_column(row, 5, text)
    return Expected("sync-store", "altered", row[3] or "", row[4] or 0, row[0])


@damage
def _sync_store_has_a_row_in_another_bucket(system: System, pick: Pick) -> Expected:
    at = pick.one(rows_at(system))
    row = system.sync_rows[at]
    system.sync_rows[at] = with_column(row, 1, pick.one((row[1] + 1, -1)))
    return Expected("sync-store", "misplaced", user=row[0])


@damage
def _sync_store_has_a_row_in_another_epoch(system: System, pick: Pick) -> Expected:
    at = pick.one(rows_at(system))
    row = system.sync_rows[at]
    system.sync_rows[at] = with_column(row, 2, pick.one((row[2] + (1 << 48), -1)))
    return Expected("sync-store", "misplaced", user=row[0])


@damage
def _sync_store_gives_a_row_to_another(system: System, pick: Pick) -> Expected:
    at = pick.one(rows_at(system))
    row = system.sync_rows[at]
    epoch = epoch_of(row[2])
    home = system.home(row[0], epoch)
    # Where each has a shard alone, another has no place for it.
    twins = [name for name in map(str, range(99)) if system.shards.home(name, epoch) == home]
    twin = next(iter(twins), STRANGER)
    system.sync_rows[at] = with_column(row, 0, twin)
    return Expected("sync-store", "altered" if twins else "misplaced", user=twin)


@damage
def _sync_store_has_a_row_of_its_own(system: System, pick: Pick) -> Expected:
    row = system.sync_rows[pick.one(rows_at(system))]
    epoch = epoch_of(row[2])
    end = sync_seq(epoch, end_of(system.sync, system.home(row[0], epoch)))
    place = pick.one((row[2] + 1, end, end + 10 * SYNC_BUCKET))
    system.sync_rows.append((row[0], place // SYNC_BUCKET, place, *row[3:]))
    return Expected("sync-store", "extra", user=row[0])


@damage
def _sync_store_forgets_a_bucket(system: System, pick: Pick) -> Expected:
    user, _ = system.buckets.pop(pick.index(system.buckets))
    return Expected("sync-store", "missing", user=user)


@damage
def _sync_store_lists_a_bucket_of_its_own(system: System, pick: Pick) -> Expected:
    user, bucket = pick.one(system.buckets)
    place = pick.one(((STRANGER, bucket), (user, 1_000)))
    system.buckets.append(place)
    return Expected("sync-store", "extra", user=place[0])


@damage
def _sync_store_does_not_tell_of_a_row(system: System, pick: Pick) -> Expected:
    at = pick.index(system.expiries)
    user, newest = system.expiries.pop(at)
    system.expiries += pick.one(([], [(user, newest - 1)]))
    return Expected("sync-store", "missing", user=user)
