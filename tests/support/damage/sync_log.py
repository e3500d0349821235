"""Damages to the sync timelines in Kafka."""

from __future__ import annotations

from backends.kafka import partition_of
from ops.verify.report import DifferenceKind
from schemas.codec import decode_entry, decode_sync_record, encode
from tests.support.audited import SYNC_PARTITIONS, System
from tests.support.damage.tools import (
    STRANGER,
    Expected,
    Pick,
    damage,
    end_of,
    entries_at,
    forged,
    line_of_sync,
    neighbours,
    of_sync,
    retractions_at,
    set_value,
    swap_values,
)


@damage
def _sync_loses_a_record(system: System, pick: Pick) -> Expected:
    at = pick.one(entries_at(system.sync))
    _, _, key, value = system.sync.pop(at)
    return of_sync(key, value, "missing")


@damage
def _sync_has_a_record_twice(system: System, pick: Pick) -> Expected:
    partition, _, key, value = system.sync[pick.one(entries_at(system.sync))]
    system.sync.append((partition, end_of(system.sync, partition), key, value))
    return of_sync(key, value, "double")


@damage
def _sync_changes_the_order(system: System, pick: Pick) -> Expected:
    pairs = neighbours(system.sync, line_of_sync)
    first, second = pick.one(pairs)
    swap_values(system.sync, first, second)
    return of_sync(system.sync[second][2], system.sync[second][3], "out_of_order")


@damage
def _sync_alters_a_record(system: System, pick: Pick) -> Expected:
    at = pick.one(entries_at(system.sync))
    _, _, key, value = system.sync[at]
    set_value(system.sync, at, (value or b"") + b" ")
    return of_sync(key, value, "altered")


@damage
def _sync_sends_a_record_to_another(system: System, pick: Pick) -> Expected:
    at = pick.one(entries_at(system.sync))
    _, _, key, value = system.sync.pop(at)
    partition = partition_of(STRANGER, SYNC_PARTITIONS)
    place = (partition, end_of(system.sync, partition))
    system.sync.append((*place, STRANGER.encode(), value))
    return pick.one((of_sync(key, value, "missing"), of_sync(b"stranger", value, "extra")))


@damage
def _sync_has_a_record_on_another_partition(system: System, pick: Pick) -> Expected:
    at = pick.one(entries_at(system.sync))
    partition, _, key, value = system.sync.pop(at)
    other = (partition + 1) % SYNC_PARTITIONS
    system.sync.append((other, end_of(system.sync, other), key, value))
    kinds: tuple[DifferenceKind, ...] = ("missing", "misplaced")
    return of_sync(key, value, pick.one(kinds))


@damage
def _sync_has_an_entry_of_its_own(system: System, pick: Pick) -> Expected:
    _, _, key, value = system.sync[pick.one(entries_at(system.sync))]
    entry = decode_entry(value)
    user, conv_id, seq = (key or b"").decode(), *pick.one(((entry.conv_id, 1_000), ("no", 1)))
    partition = partition_of(user, SYNC_PARTITIONS)
    place = (partition, end_of(system.sync, partition))
    system.sync.append((*place, key, encode(forged(conv_id, seq))))
    return Expected("sync-log", "extra", conv_id, seq, user, alone=False)


@damage
def _sync_tells_another_of_a_refusal(system: System, pick: Pick) -> Expected:
    reply = {
        "kind": "rejected", "conv_id": "c1", "sender": "ann", "device_id": "d",
        "client_msg_id": "", "at": 5, "code": "stale",
    }  # fmt: skip
    partition = partition_of("bob", SYNC_PARTITIONS)
    place = (partition, end_of(system.sync, partition))
    system.sync.append((*place, b"bob", encode(reply)))
    return pick.one([Expected("sync-log", "extra", "c1", user="bob", alone=False)])


@damage
def _sync_has_what_is_no_record(system: System, pick: Pick) -> Expected:
    partition = pick.index(range(SYNC_PARTITIONS))
    value = pick.one((None, b"", b"{}", b"\xff"))
    system.sync.append((partition, end_of(system.sync, partition), b"ann", value))
    return Expected("sync-log", "undecodable", alone=False)


@damage
def _sync_has_no_recipient(system: System, pick: Pick) -> Expected:
    at = pick.one(entries_at(system.sync))
    partition, offset, _, value = system.sync[at]
    system.sync[at] = (partition, offset, pick.one((None, b"\xff")), value)
    return Expected("sync-log", "undecodable", alone=False)


@damage
def _sync_does_not_tell_who_left_of_a_recall(system: System, pick: Pick) -> Expected:
    at = pick.one(retractions_at(system.sync))
    _, _, key, value = system.sync.pop(at)
    record = decode_sync_record(value)
    user = (key or b"").decode()
    return Expected("sync-log", "missing", record.conv_id, user=user, alone=False)


@damage
def _sync_tells_another_of_a_recall(system: System, pick: Pick) -> Expected:
    value = system.sync[pick.one(retractions_at(system.sync))][3]
    partition = partition_of(STRANGER, SYNC_PARTITIONS)
    place = (partition, end_of(system.sync, partition))
    system.sync.append((*place, STRANGER.encode(), value))
    return Expected("sync-log", "extra", "c1", user=STRANGER, alone=False)
