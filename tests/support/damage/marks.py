"""Damages to the read marks in the store."""

from __future__ import annotations

from audit.read_marks import ReadMarkRow
from schemas.number_types import Milliseconds, SeqId
from tests.support.audited import System
from tests.support.damage.tools import STRANGER, Expected, Pick, damage, with_column
from tests.support.stories import FIRST_MUTE_OF_THE_STORY


@damage
def _marks_lose_a_row(system: System, pick: Pick) -> Expected:
    conv_id, user, *_ = system.read_marks.pop(pick.index(system.read_marks))
    return Expected("marks", "missing", conv_id, user=user)


@damage
def _marks_lose_what_somebody_marked(system: System, pick: Pick) -> Expected:
    at = pick.one([at for at, row in enumerate(system.read_marks) if row.read_seq])
    conv_id, user, _, _, marked, _ = row = system.read_marks[at]
    before = pick.one((None, (marked or 0) - 1))
    system.read_marks[at] = with_column(row, "read_seq", before)
    return Expected("marks", "missing" if before is None else "altered", conv_id, user=user)


@damage
def _marks_run_ahead(system: System, pick: Pick) -> Expected:
    at = pick.one([at for at, row in enumerate(system.read_marks) if row.read_seq])
    conv_id, user, _, _, marked, _ = row = system.read_marks[at]
    system.read_marks[at] = with_column(row, "read_seq", (marked or 0) + pick.one((1, 1_000)))
    return Expected("marks", "extra", conv_id, user=user)


@damage
def _marks_have_a_row_of_their_own(system: System, pick: Pick) -> Expected:
    conv_id = pick.one(system.read_marks).conv_id
    place = pick.one([(conv_id, STRANGER), ("nowhere", STRANGER)])
    row = pick.one(
        [
            ReadMarkRow(*place, SeqId(1), 1, None, None),
            ReadMarkRow(*place, None, None, SeqId(1), None),
            ReadMarkRow(*place, None, None, None, Milliseconds(7)),
        ]
    )
    system.read_marks.append(row)
    return Expected("marks", "extra", place[0], user=STRANGER)


@damage
def _marks_alter_an_own_message(system: System, pick: Pick) -> Expected:
    at = pick.one([at for at, row in enumerate(system.read_marks) if row.own_seq])
    conv_id, user, seq, messages, *_ = row = system.read_marks[at]
    system.read_marks[at] = pick.one(
        [
            with_column(row, "own_seq", (seq or 0) - 1),
            with_column(row, "own_messages", (messages or 0) + 1),
        ]
    )
    return Expected("marks", "altered", conv_id, user=user)


@damage
def _marks_forget_an_own_message(system: System, pick: Pick) -> Expected:
    at = pick.one([at for at, row in enumerate(system.read_marks) if row.own_seq])
    conv_id, user, *_ = row = system.read_marks[at]
    system.read_marks[at] = row._replace(own_seq=None, own_messages=None)
    return Expected("marks", "missing", conv_id, user=user)


@damage
def _marks_lose_a_mute(system: System, pick: Pick) -> Expected:
    at = pick.one([at for at, row in enumerate(system.read_marks) if row.muted_until])
    conv_id, user, *_ = row = system.read_marks[at]
    system.read_marks[at] = with_column(row, "muted_until", None)
    return Expected("marks", "missing", conv_id, user=user)


@damage
def _marks_have_an_earlier_mute(system: System, pick: Pick) -> Expected:
    at = pick.one([at for at, row in enumerate(system.read_marks) if row.muted_until])
    conv_id, user, *_ = row = system.read_marks[at]
    system.read_marks[at] = with_column(row, "muted_until", pick.one((0, FIRST_MUTE_OF_THE_STORY)))
    return Expected("marks", "altered", conv_id, user=user)
