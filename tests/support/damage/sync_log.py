"""Damages to the sync timelines in Kafka."""

from __future__ import annotations

from audit.report import DifferenceKind
from schemas.codec import decode_entry, decode_sync_record, encode
from schemas.number_types import ShardNumber
from schemas.sync_seq import epoch_of
from tests.support.audited import System
from tests.support.damage.tools import (
    STRANGER,
    Expected,
    Pick,
    add_sync,
    damage,
    entries_at,
    forged,
    line_of_sync,
    neighbours,
    of_sync,
    only_user,
    replies_at,
    retractions_at,
    set_key,
    set_value,
    swap_values,
    twins,
    without_recipient,
)


@damage
def _sync_loses_a_record(system: System, pick: Pick) -> Expected:
    _, _, key, value = system.sync.pop(pick.one(entries_at(system)))
    return of_sync(pick.user(key), value, "missing")


@damage
def _sync_leaves_a_recipient_out(system: System, pick: Pick) -> Expected:
    at = pick.one(entries_at(system))
    _, _, key, value = system.sync[at]
    user = pick.user(key)
    without_recipient(system, at, user)
    return of_sync(user, value, "missing")


@damage
def _sync_has_a_record_twice(system: System, pick: Pick) -> Expected:
    number, _, key, value = system.sync[pick.one(entries_at(system))]
    add_sync(system, number, key, value)
    return of_sync(pick.user(key), value, "double")


@damage
def _sync_lists_a_recipient_in_two_records(system: System, pick: Pick) -> Expected:
    number, _, key, value = system.sync[pick.one(entries_at(system))]
    user = pick.user(key)
    add_sync(system, number, user.encode(), value)
    return of_sync(user, value, "double")


@damage
def _sync_lists_a_recipient_twice_in_a_key(system: System, pick: Pick) -> Expected:
    at = pick.one(entries_at(system))
    _, _, key, value = system.sync[at]
    user = pick.user(key)
    set_key(system, at, (key or b"") + b"\n" + user.encode())
    return of_sync(user, value, "double")._replace(alone=True)


@damage
def _sync_lists_a_stranger_in_a_key(system: System, pick: Pick) -> Expected:
    at = pick.one(entries_at(system))
    number, _, key, value = system.sync[at]
    # If each recipient has their own shard, no other person belongs to this shard.
    found = twins(system, number)
    user = pick.one(found) if found else STRANGER
    set_key(system, at, pick.one(((key or b"") + b"\n%s", b"%s\n" + (key or b""))) % user.encode())
    return of_sync(user, value, "extra" if found else "misplaced")


@damage
def _sync_changes_the_order(system: System, pick: Pick) -> Expected:
    last = system.shards.epochs[-1]
    pairs = neighbours(system.sync, line_of_sync)
    later = [
        pair for pair in pairs if last == 0 or epoch_of(ShardNumber(system.sync[pair[1]][0])) > 0
    ]
    first, second = pick.one(later)
    swap_values(system.sync, first, second)
    return of_sync(pick.user(system.sync[second][2]), system.sync[second][3], "out_of_order")


@damage
def _sync_alters_a_record(system: System, pick: Pick) -> Expected:
    at = pick.one(entries_at(system))
    _, _, key, value = system.sync[at]
    set_value(system.sync, at, (value or b"") + b" ")
    return of_sync(only_user(key), value, "altered")._replace(alone=True)


@damage
def _sync_sends_a_record_to_a_stranger(system: System, pick: Pick) -> Expected:
    at = pick.one(entries_at(system))
    _, _, key, value = system.sync[at]
    user = pick.user(key)
    without_recipient(system, at, user)
    add_sync(system, system.last_home(STRANGER), STRANGER.encode(), value)
    return pick.one((of_sync(user, value, "missing"), of_sync(STRANGER, value, "extra")))


@damage
def _sync_has_what_is_for_others_only(system: System, pick: Pick) -> Expected:
    value = next(v for _, _, _, v in system.sync if b'"just us"' in (v or b""))
    user = pick.one(("bob", "|e-"))
    add_sync(system, system.last_home(user), user.encode(), value)
    return of_sync(user, value, "extra")


@damage
def _sync_has_a_record_on_another_shard(system: System, pick: Pick) -> Expected:
    at = pick.one(entries_at(system))
    number, _, key, value = system.sync.pop(at)
    alike = [
        n for n in sorted(system.shards.places) if epoch_of(n) == epoch_of(ShardNumber(number))
    ]
    other = pick.one([n for n in alike if n != number])
    add_sync(system, other, key, value)
    kinds: tuple[DifferenceKind, ...] = ("missing", "misplaced")
    return of_sync(pick.user(key), value, pick.one(kinds))


@damage
def _sync_has_an_entry_of_its_own(system: System, pick: Pick) -> Expected:
    number, _, key, value = system.sync[pick.one(entries_at(system))]
    entry = decode_entry(value)
    conv_id, seq = pick.one(((entry.conv_id, 1_000), ("no", 1)))
    add_sync(system, number, key, encode(forged(conv_id, seq)))
    return Expected("sync-log", "extra", conv_id, seq, only_user(key), alone=False)


@damage
def _sync_tells_another_of_a_refusal(system: System, pick: Pick) -> Expected:
    reply = {
        "kind": "rejected", "conv_id": "c1", "sender": "ann", "device_id": "d",
        "client_msg_id": "", "at": 5, "code": "stale",
    }  # fmt: skip
    add_sync(system, system.last_home("bob"), b"bob", encode(reply))
    return pick.one([Expected("sync-log", "extra", "c1", user="bob", alone=False)])


@damage
def _sync_shares_a_reply(system: System, pick: Pick) -> Expected:
    shared = [at for at in replies_at(system) if twins(system, system.sync[at][0])]
    at = pick.one(shared)
    number, _, key, value = system.sync[at]
    other = pick.one(twins(system, number)).encode()
    set_key(system, at, (key or b"") + b"\n" + other)
    conv_id, sender = decode_sync_record(value).conv_id, (key or b"").decode()
    return Expected("sync-log", "shared_reply", conv_id, user=sender, alone=False)


@damage
def _sync_has_what_is_no_record(system: System, pick: Pick) -> Expected:
    number = pick.one(sorted(system.shards.places))
    value = pick.one((None, b"", b"{}", b"\xff"))
    add_sync(system, number, b"ann", value)
    return Expected("sync-log", "undecodable")


@damage
def _sync_has_no_recipient(system: System, pick: Pick) -> Expected:
    at = pick.one(entries_at(system))
    own = system.sync[at][2] or b""
    set_key(system, at, pick.one((None, b"\xff", b"", own + b"\n", b"\n" + own, own + b"\n\xff")))
    return Expected("sync-log", "undecodable", alone=False)


@damage
def _sync_does_not_tell_who_left_of_a_recall(system: System, pick: Pick) -> Expected:
    at = pick.one(retractions_at(system.sync))
    _, _, key, value = system.sync[at]
    user = pick.user(key)
    without_recipient(system, at, user)
    conv_id = decode_sync_record(value).conv_id
    return Expected("sync-log", "missing", conv_id, user=user, alone=False)


@damage
def _sync_tells_another_of_a_recall(system: System, pick: Pick) -> Expected:
    value = system.sync[pick.one(retractions_at(system.sync))][3]
    add_sync(system, system.last_home(STRANGER), STRANGER.encode(), value)
    return Expected("sync-log", "extra", "c1", user=STRANGER, alone=False)
