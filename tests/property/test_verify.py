"""The audit reports no difference in consistent data, and names each difference."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from audit.expected_audience import AudienceRun, Cursor, Cursors
from schemas.codec import encode
from schemas.ids import uuid7
from schemas.number_types import EpochNumber, Offset
from schemas.recipients import recipients_of
from schemas.records import AnyCommand, MessageSent
from tests.support.audited import System
from tests.support.audited_building import system_of
from tests.support.commands import commands
from tests.support.damage import BETWEEN_EPOCHS, DAMAGES, Expected, Pick
from tests.support.damage.rows import held_once, value_of
from tests.support.damage.tools import NoPlaceForDamage, add_sync, entries_at, entry_of
from tests.support.placing import PLACINGS, SYNC_PARTITIONS
from tests.support.sequencing import run
from tests.support.stories import STORY


def _in_order(steps: list[tuple[AnyCommand, int]]) -> list[AnyCommand]:
    """Give the commands increasing ids; the number is that of copies of a command."""
    return [
        msgspec.structs.replace(step, client_msg_id=uuid7(10_000 + at, 0))
        for at, (step, copies) in enumerate(steps)
        for _ in range(copies)
    ]


command_lists = st.lists(st.tuples(commands, st.sampled_from((1, 1, 1, 2, 3))), max_size=20).map(
    _in_order
)
# The time of an example depends on the load of the machine.
tries = settings(deadline=None, max_examples=60)
numbers = st.lists(st.integers(0, 10_000), min_size=4, max_size=4)


ONE_EPOCH, *OTHERS = PLACINGS
DAMAGED = [(name, ONE_EPOCH) for name in DAMAGES] + [
    (name, layout)
    for layout in OTHERS
    for name in (*(each for each in DAMAGES if each.startswith("sync")), *BETWEEN_EPOCHS)
]
"""Each damage, and those of sync timelines in each layout, where they are in a later epoch."""


def _at(system: System, place: int) -> int:
    return entry_of(system.timeline[place]).at


def _system(steps: list[AnyCommand], layout: str = ONE_EPOCH) -> System:
    return system_of(run(steps), PLACINGS[layout])


@settings(tries, max_examples=150)
@given(command_lists, st.sampled_from(list(PLACINGS)))
def test_the_audit_accepts_the_records_of_the_core(steps: list[AnyCommand], layout: str) -> None:
    """Entries, records, rows and documents of any commands agree completely.

    The core's fan-out and the audit's are two programs, and here each checks the other.
    """
    system = _system(steps, layout)

    report = system.audit()

    assert report.differences == []
    assert report.section("log").counts["entries"] == len(system.timeline)
    assert report.section("sync-log").counts["records"] == len(system.sync)
    assert report.section("sync-store").counts["rows"] == len(system.sync_rows)


@pytest.mark.parametrize(("name", "layout"), DAMAGED)
@settings(tries, max_examples=6)
@given(more=command_lists, choices=numbers)
def test_each_damage_is_named(
    name: str, layout: str, more: list[AnyCommand], choices: list[int]
) -> None:
    """One damage of a consistent deployment is reported with its kind and its place.

    If the damage has only one possible place, no other place is reported.
    """
    system = _system([*STORY, *more], layout)

    try:
        expected = (DAMAGES | BETWEEN_EPOCHS)[name](system, Pick(choices))
    except NoPlaceForDamage:
        reject()
    report = system.audit()

    assert expected.is_in(report), report.differences
    if expected.alone:
        assert {difference.check for difference in report.differences} == {expected.check}


def test_the_catalogue_has_at_least_40_damages() -> None:
    """At least 40 damages are tested, in addition to those of the rules."""
    assert len(DAMAGES | BETWEEN_EPOCHS) >= 40


def test_a_shard_that_begins_with_a_null_value_is_audited() -> None:
    """The first record of a shard, even without a value, is not taken for one of another shard."""
    system = _system(STORY, "later epochs")
    empty = system.shards.places.keys() - {record.partition for record in system.sync}
    add_sync(system, max(empty), b"ann", None)

    found = [(each.kind, each.user) for each in system.audit().differences]

    assert ("undecodable", "ann") in found
    assert not any(kind == "misplaced" for kind, _ in found)


@tries
@given(st.integers(0, 10_000))
def test_a_hole_of_the_log_is_not_a_difference_of_its_copies(choice: int) -> None:
    """A SeqId missing in the log is reported for the log, and not for the copies."""
    log = run(STORY)
    messages = [e for e in log.timeline_of("c1")[:-1] if isinstance(e, MessageSent)]
    gone = messages[choice % len(messages)]
    for pairs in (log.entries, log.syncs):
        pairs[:] = [pair for pair in pairs if pair[1] != encode(gone)]

    report = system_of(log).audit()

    found = [(each.check, each.kind, each.conv_id, each.seq) for each in report.differences]
    assert found == [("log", "missing", "c1", gone.seq)]


@tries
@given(command_lists, st.data())
def test_records_written_during_the_audit_are_not_differences(
    more: list[AnyCommand], data: st.DataObject
) -> None:
    """The audit reads new entries of the log before it reports copies that are ahead."""
    system = _system([*STORY, *more])
    cut = data.draw(st.integers(0, len(system.timeline)))
    # The entries of a command are in one transaction.
    while 0 < cut < len(system.timeline) and _at(system, cut) == _at(system, cut - 1):
        cut -= 1
    system.timeline, system.grown = system.timeline[:cut], system.timeline[cut:]

    report = system.audit()

    assert report.differences == []


@tries
@given(command_lists, numbers)
def test_a_record_that_only_a_copy_has_is_named_while_the_log_grows(
    more: list[AnyCommand], choices: list[int]
) -> None:
    """An entry that only a copy has is reported, although the log grew."""
    system = _system([*STORY, *more])
    system.timeline, system.grown = system.timeline[:-1], system.timeline[-1:]

    expected = DAMAGES["store_has_a_message_of_its_own"](system, Pick(choices))

    assert expected.is_in(system.audit())


@tries
@given(command_lists)
def test_rows_written_during_the_audit_must_match_the_log(more: list[AnyCommand]) -> None:
    """A row ahead of the snapshot must equal the entry that the log received since."""
    system = _system([*STORY, *more])
    system.timeline, system.grown = system.timeline[:-1], system.timeline[-1:]
    conv_id, _, seq, *_ = row = system.messages[-1]
    system.messages[-1] = row._replace(entry=(row.entry or b"") + b" ")

    expected = Expected("store", "extra", conv_id, seq)

    assert expected.is_in(system.audit())


@tries
@given(command_lists, st.data())
def test_records_removed_by_retention_are_not_differences(
    more: list[AnyCommand], data: st.DataObject
) -> None:
    """Records that Kafka dropped are no difference; the rest is checked, and a note reports this.

    Cassandra may have dropped the same rows, or not yet.
    """
    system = _system([*STORY, *more])
    partition = data.draw(st.integers(0, SYNC_PARTITIONS - 1))
    ends = [offset + 1 for number, offset, _, _ in system.sync if number == partition]
    system.lows[partition] = Offset(data.draw(st.sampled_from([1, *ends])))
    retained = [
        each
        for each in system.sync
        if each.partition != partition or each.offset >= system.lows[partition]
    ]
    if data.draw(st.booleans()):
        low, homes = system.lows[partition], system.shards.home
        system.sync_rows = [
            row
            for row in system.sync_rows
            if row.sync_seq >= low or homes(row.user_id, EpochNumber(0)) != partition
        ]
    system.sync = retained

    report = system.audit()

    assert report.differences == []
    assert any(f"sync[{partition}]" in note for note in report.section("sync-log").notes)


@tries
@given(st.integers(0, 10_000))
def test_a_loss_after_the_retained_beginning_is_named(choice: int) -> None:
    """Retention explains the oldest missing records, but no hole among later records."""
    system = _system(STORY)
    home = system.home("ann", EpochNumber(0))
    own = [record for record in system.sync if record.partition == home]
    system.lows[home] = own[1].offset
    later = own[len(own) // 2 :]
    entries = [system.sync[at] for at in entries_at(system) if system.sync[at] in later]
    gone = entries[choice % len(entries)]
    system.sync = [record for record in system.sync if record not in (own[0], gone)]

    report = system.audit()

    named = {each.user.encode() for each in report.differences if each.check == "sync-log"}
    assert named == set(recipients_of(gone[2] or b""))


@tries
@given(command_lists, st.data())
def test_only_expired_rows_may_be_absent(more: list[AnyCommand], data: st.DataObject) -> None:
    """A missing row is allowed exactly if its records have expired."""
    system = _system([*STORY, *more])
    alone = held_once(system)
    at = alone[data.draw(st.integers(0, len(alone) - 1))].at
    lost = [each for each in alone if each.at == at]
    newest = max(msgspec.json.decode(value_of(system, each))["at"] for each in lost)
    user = system.sync_rows.pop(at).user_id
    due, expired = (replace(system, expired_before=time) for time in (newest, newest + 1))

    assert expired.audit().differences == []
    named = [(d.check, d.kind, d.user) for d in due.audit().differences]
    assert ("sync-store", "missing", user) in named


run_lists = st.sets(st.integers(1, 30)).map(
    lambda seqs: [
        AudienceRun(first, last)
        for first in sorted(seqs)
        if first - 1 not in seqs
        for last in [min(n for n in range(first, 32) if n + 1 not in seqs)]
    ]
)


@tries
@given(run_lists, st.lists(st.integers(1, 32)))
def test_a_cursor_answers_like_a_set_of_all_seqids(
    runs: list[AudienceRun], arrivals: list[int]
) -> None:
    """A cursor gives the same answer for each SeqId as a set of all SeqIds."""
    due = {seq for run in runs for seq in range(run.first, run.last + 1)}
    cursor, came = Cursor(runs), set[int]()

    for seq in arrivals:
        late = "out_of_order" if came and seq < max(came) else "next"
        expected = "extra" if seq not in due else "double" if seq in came else late
        assert cursor.take(seq) == expected
        came |= {seq} & due

    missing = {seq for run in cursor.missing() for seq in range(run.first, run.last + 1)}
    assert missing == due - came


people = st.sampled_from([b"ann", b"bob", b"cat"])
shared = st.tuples(st.lists(people, min_size=1, unique=True), st.integers(1, 32))


@tries
@given(st.lists(run_lists, min_size=3, max_size=3), st.lists(shared))
def test_recipients_of_one_record_are_audited_like_each_alone(
    runs: list[list[AudienceRun]], records: list[tuple[list[bytes], int]]
) -> None:
    """Cursors that advance together give the same answers as single cursors, in any order."""
    users = (b"ann", b"bob", b"cat")
    alone = {user: Cursor(due) for user, due in zip(users, runs, strict=True)}
    together = Cursors({user: Cursor(due) for user, due in zip(users, runs, strict=True)})

    # A record and the next one of its conversation usually have the same recipients.
    for listed, seq in [(listed, first + n) for listed, first in records for n in range(4)]:
        key = b"\n".join(listed)
        expected = [alone[user].take(seq) for user in listed]
        if together.advance(key, seq):
            assert set(expected) == {"next"}
        else:
            assert [together.take(user, seq) for user in listed] == expected
            together.unite(key, listed)

    left = [(user, run) for user, cursor in alone.items() for run in cursor.missing()]
    assert list(together.missing()) == left
