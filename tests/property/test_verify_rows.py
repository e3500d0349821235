"""The audit of rows agrees with a reader, for the rows of sinks that are killed at any time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from audit.sync_store import AuditedSyncRow
from schemas.number_types import ShardNumber, SyncSeqId
from schemas.recipients import recipients_of
from schemas.sync_rows import decode_row, references
from schemas.sync_seq import epoch_of, sync_seq
from tests.support.audited import System
from tests.support.audited_building import system_of
from tests.support.damage.rows import Held, held, row_at, set_row, take_out
from tests.support.sequencing import run
from tests.support.stories import STORY
from tests.support.sync_table import Process, rows_of

tries = settings(deadline=None, max_examples=40)
LOG: Final = run(STORY)

processes = st.lists(
    st.lists(st.integers(1, 9), min_size=1, max_size=4).flatmap(
        lambda sizes: st.tuples(st.just(sizes), st.integers(0, len(sizes)))
    ),
    min_size=1,
    max_size=8,
)


def _places(system: System, user: str) -> list[SyncSeqId]:
    """Return the sync SeqIds of all deliveries to a recipient."""
    return sorted(
        sync_seq(epoch_of(ShardNumber(number)), offset)
        for number, offset, key, _ in system.sync
        if user.encode() in recipients_of(key or b"")
    )


def _read(rows: Sequence[AuditedSyncRow], user: str, after: int) -> list[SyncSeqId]:
    """Read a recipient's rows above a cursor, as the documentation of `gateway` describes."""
    taken = []
    for _, _, key, value in sorted(row for row in rows if row.user_id == user):
        if key <= after:
            continue
        for each in references(decode_row(value or b"")):
            if each.sync_seq > after:
                after = each.sync_seq
                taken.append(after)
    return taken


@tries
@given(processes)
def test_rows_of_a_killed_sink_are_correct(history: list[Process]) -> None:
    """After any flushes and kills there is no difference, and a reader gets all records."""
    system = system_of(LOG)
    system.sync_rows = rows_of(system.sync, history)

    assert system.audit().differences == []
    for user in {row.user_id for row in system.sync_rows}:
        places = _places(system, user)
        for cursor in (-1, *places):
            assert _read(system.sync_rows, user, cursor) == [at for at in places if at > cursor]


@tries
@given(processes, st.integers(0, 10_000))
def test_a_skip_note_covers_only_the_rows_up_to_the_note(
    history: list[Process], choice: int
) -> None:
    """A skip note at the last record explains missing rows, and a lower note does not."""
    system = system_of(LOG)
    system.sync_rows = rows_of(system.sync, history)
    users = sorted({row.user_id for row in system.sync_rows})
    user = users[choice % len(users)]
    system.sync_rows = [row for row in system.sync_rows if row.user_id != user]
    system.buckets = [each for each in system.buckets if each[0] != user]
    last = _places(system, user)[-1]

    system.skip_notes = [(user, last)]
    assert system.audit().differences == []
    system.skip_notes = [(user, SyncSeqId(last - 1))]
    (difference,) = system.audit().differences
    assert (difference.kind, difference.user) == ("missing", user)


@tries
@given(processes, st.lists(st.integers(0, 10_000), max_size=4))
def test_exactly_the_records_that_a_reader_loses_are_named(
    history: list[Process], choices: list[int]
) -> None:
    """The audit names exactly the removed references that a reader misses."""
    system = system_of(LOG)
    system.sync_rows = rows_of(system.sync, history)
    for choice in choices:
        _lose(system, held(system)[choice % len(held(system))])

    differences = system.audit().differences

    lost = {
        (user, place)
        for user in {row.user_id for row in system.sync_rows}
        for place in set(_places(system, user)) - set(_read(system.sync_rows, user, -1))
    }
    named = [each for each in differences if each.kind in {"missing", "out_of_order"}]
    assert sorted(each.user for each in named) == sorted(user for user, _ in lost)
    # A row without its highest reference has a wrong key.
    assert {each.kind for each in differences} <= {"missing", "out_of_order", "wrong_key"}


def _lose(system: System, each: Held) -> None:
    row = row_at(system, each.at)
    take_out(row, each.reference)
    set_row(system, each.at, row)
