"""Damages to the read marks in the store."""

from __future__ import annotations

from tests.support.audited import System
from tests.support.damage.tools import STRANGER, Expected, Pick, damage, with_column


@damage
def _marks_lose_a_row(system: System, pick: Pick) -> Expected:
    conv_id, user, *_ = system.read_marks.pop(pick.index(system.read_marks))
    return Expected("marks", "missing", conv_id, user=user)


@damage
def _marks_lose_what_somebody_marked(system: System, pick: Pick) -> Expected:
    at = pick.one([at for at, row in enumerate(system.read_marks) if row[4]])
    conv_id, user, _, _, marked = row = system.read_marks[at]
    before = pick.one((None, (marked or 0) - 1))
    system.read_marks[at] = with_column(row, 4, before)
    return Expected("marks", "missing" if before is None else "altered", conv_id, user=user)


@damage
def _marks_run_ahead(system: System, pick: Pick) -> Expected:
    at = pick.one([at for at, row in enumerate(system.read_marks) if row[4]])
    conv_id, user, _, _, marked = row = system.read_marks[at]
    system.read_marks[at] = with_column(row, 4, (marked or 0) + pick.one((1, 1_000)))
    return Expected("marks", "extra", conv_id, user=user)


@damage
def _marks_have_a_row_of_their_own(system: System, pick: Pick) -> Expected:
    conv_id = pick.one(system.read_marks)[0]
    place = pick.one([(conv_id, STRANGER), ("nowhere", STRANGER)])
    row = pick.one([(*place, 1, 1, None), (*place, None, None, 1)])
    system.read_marks.append(row)
    return Expected("marks", "extra", place[0], user=STRANGER)


@damage
def _marks_alter_an_own_message(system: System, pick: Pick) -> Expected:
    at = pick.one([at for at, row in enumerate(system.read_marks) if row[2]])
    conv_id, user, seq, messages, _ = row = system.read_marks[at]
    system.read_marks[at] = pick.one(
        [with_column(row, 2, (seq or 0) - 1), with_column(row, 3, (messages or 0) + 1)]
    )
    return Expected("marks", "altered", conv_id, user=user)


@damage
def _marks_forget_an_own_message(system: System, pick: Pick) -> Expected:
    at = pick.one([at for at, row in enumerate(system.read_marks) if row[2]])
    conv_id, user, _, _, marked = system.read_marks[at]
    system.read_marks[at] = (conv_id, user, None, None, marked)
    return Expected("marks", "missing", conv_id, user=user)
