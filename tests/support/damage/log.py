"""Damages to the log."""

from __future__ import annotations

from msgspec import structs

from audit.report import CheckName, DifferenceKind
from audit.sources import SinkName
from backends.kafka.clients import partition_of
from schemas.codec import decode_entry, encode
from tests.support.audited import System
from tests.support.damage.tools import (
    Expected,
    Pick,
    add_record,
    damage,
    entry_of,
    forged,
    neighbours,
    of_entry,
    set_value,
    swap_values,
)
from tests.support.placing import TIMELINE_PARTITIONS


@damage
def _log_loses_an_entry(system: System, pick: Pick) -> Expected:
    at = pick.index(system.timeline)
    entry = entry_of(system.timeline.pop(at))
    later = any(entry_of(record).conv_id == entry.conv_id for record in system.timeline[at:])
    found: tuple[CheckName, DifferenceKind] = ("log", "missing") if later else ("store", "extra")
    return Expected(*found, entry.conv_id, entry.seq, alone=False)


@damage
def _log_has_an_entry_twice(system: System, pick: Pick) -> Expected:
    partition, _, key, value = pick.one(system.timeline)
    add_record(system.timeline, partition, key, value)
    return of_entry(decode_entry(value), "log", "double", alone=False)


@damage
def _log_has_another_time(system: System, pick: Pick) -> Expected:
    recalled = {(row.conv_id, row.seq) for row in system.messages if row.recalled_by}
    entries = [(at, entry_of(record)) for at, record in enumerate(system.timeline)]
    # For a recalled message the store has no bytes to compare.
    kept = [(at, e) for at, e in entries if (e.conv_id, e.seq) not in recalled]
    at, entry = pick.one(kept)
    set_value(system.timeline, at, encode(structs.replace(entry, at=entry.at + 1)))
    return of_entry(entry, "store", "altered", alone=False)


@damage
def _log_counts_otherwise(system: System, pick: Pick) -> Expected:
    at = pick.index(system.timeline)
    entry = entry_of(system.timeline[at])
    wrong = entry.messages + pick.one((1, 2, 7))
    set_value(system.timeline, at, encode(structs.replace(entry, messages=wrong)))
    return of_entry(entry, "log", "wrong_count", alone=False)


@damage
def _log_changes_the_order(system: System, pick: Pick) -> Expected:
    pairs = neighbours(system.timeline, lambda record: record.key)
    first, second = pick.one(pairs)
    swap_values(system.timeline, first, second)
    return of_entry(entry_of(system.timeline[second]), "log", "double", alone=False)


@damage
def _log_has_a_strangers_message(system: System, pick: Pick) -> Expected:
    conv_id, head = pick.one([(row.conv_id, row.head) for row in system.conversations])
    assert head is not None
    entry = forged(conv_id, head + 1)
    partition = partition_of(conv_id, TIMELINE_PARTITIONS)
    add_record(system.timeline, partition, conv_id.encode(), encode(entry))
    return Expected("log", "sender_not_a_member", conv_id, head + 1, alone=False)


@damage
def _log_has_another_key(system: System, pick: Pick) -> Expected:
    at = pick.index(system.timeline)
    record = system.timeline[at]
    system.timeline[at] = record._replace(key=b"another")
    return Expected("log", "misplaced", entry_of(record).conv_id)


@damage
def _log_has_an_entry_on_another_partition(system: System, pick: Pick) -> Expected:
    partition, _, key, value = system.timeline.pop(pick.index(system.timeline))
    other = (partition + 1) % TIMELINE_PARTITIONS
    add_record(system.timeline, other, key, value)
    return Expected("log", "misplaced", decode_entry(value).conv_id, alone=False)


@damage
def _log_has_what_is_no_entry(system: System, pick: Pick) -> Expected:
    partition = pick.index(range(TIMELINE_PARTITIONS))
    add_record(system.timeline, partition, b"c1", b'{"kind": "gossip"}')
    return Expected("log", "undecodable")


@damage
def _a_sink_stays_behind(system: System, pick: Pick) -> Expected:
    sinks: list[tuple[SinkName, CheckName]] = [
        ("sink-message", "store"),
        ("sink-search", "index"),
        ("sink-sync", "sync-store"),
    ]
    stage, check = pick.one(sinks)
    system.lags[stage] = 7
    return Expected(check, "behind")
