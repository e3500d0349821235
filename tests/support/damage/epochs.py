"""Damages between the epochs of a sync timeline: correct records in a wrong epoch."""

from __future__ import annotations

from schemas.limits import SYNC_BUCKET
from schemas.sync_seq import epoch_of, sync_seq, unpack_sync_seq
from tests.support.audited import System
from tests.support.damage.rows import held_once
from tests.support.damage.tools import (
    Expected,
    Pick,
    add_sync,
    between_epochs,
    drop_empty_bucket,
    entries_at,
    line_of_sync,
    neighbours,
    of_sync,
    without_recipient,
)


@between_epochs
def _a_record_is_in_the_epoch_before(system: System, pick: Pick) -> Expected:
    later = set(entries_at(system))
    passed, at = pick.one(
        [
            (first, second)
            for first, second in neighbours(system.sync, line_of_sync)
            # A record that comes first in its epoch would still be in order in the epoch before.
            if first in later and system.sync[first][0] == system.sync[second][0]
        ]
    )
    _, _, key, overtaken = system.sync[passed]
    number, _, _, value = system.sync[at]
    user = pick.user(key)
    without_recipient(system, at, user)
    add_sync(system, system.home(user, epoch_of(number) - 1), user.encode(), value)
    return of_sync(user, overtaken, "out_of_order")


@between_epochs
def _a_row_is_in_another_epoch(system: System, pick: Pick) -> Expected:
    each = pick.one(held_once(system))
    row = system.sync_rows.pop(each.at)
    drop_empty_bucket(system, row[0], row[1])
    epoch, offset = unpack_sync_seq(row[2])
    place = sync_seq(pick.one([e for e in range(9) if e != epoch]), offset)
    system.sync_rows.append((row[0], place // SYNC_BUCKET, place, row[3]))
    return Expected("sync-store", "missing", each.conv_id, each.seq, each.user)
