"""Damages between the epochs of a sync timeline: correct records in a wrong epoch."""

from __future__ import annotations

from schemas.buckets import sync_bucket
from schemas.number_types import EpochNumber, ShardNumber
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
    add_sync(
        system,
        system.home(user, EpochNumber(epoch_of(ShardNumber(number)) - 1)),
        user.encode(),
        value,
    )
    return of_sync(user, overtaken, "out_of_order")


@between_epochs
def _a_row_is_in_another_epoch(system: System, pick: Pick) -> Expected:
    each = pick.one(held_once(system))
    row = system.sync_rows.pop(each.at)
    drop_empty_bucket(system, row.user_id, row.bucket)
    epoch, offset = unpack_sync_seq(row.sync_seq)
    place = sync_seq(EpochNumber(pick.one([e for e in range(9) if e != epoch])), offset)
    system.sync_rows.append(row._replace(bucket=sync_bucket(place), sync_seq=place))
    return Expected("sync-store", "missing", each.conv_id, each.seq, each.user)
