"""Functions that all parts use: ids, sync SeqIds, periods."""

from __future__ import annotations

import itertools
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.ids import MAX_RANDOM, is_client_msg_id, uuid7, uuid7_parts
from schemas.number_types import EpochNumber, Offset, SeqId
from schemas.records import HistoryRule
from schemas.sync_seq import sync_seq, unpack_sync_seq
from schemas.visibility import MembershipChange, Period, counts, periods, readable, visible

moments = st.integers(0, (1 << 48) - 1)
randoms = st.integers(0, MAX_RANDOM)
seqs = st.integers(1, 30)


@given(moments, randoms)
def test_an_id_holds_its_parts(ms: int, random_bits: int) -> None:
    """A UUIDv7 contains its time and its random part, and is a valid id."""
    made = uuid7(ms, random_bits)
    assert is_client_msg_id(made)
    assert uuid7_parts(made) == (ms, random_bits)


@given(moments, randoms, moments, randoms)
def test_ids_are_ordered_like_their_parts(ms: int, bits: int, ms2: int, bits2: int) -> None:
    """The order of ids as strings is that of (milliseconds, random part)."""
    assert (uuid7(ms, bits) < uuid7(ms2, bits2)) == ((ms, bits) < (ms2, bits2))


@given(st.text(max_size=40))
def test_other_texts_are_not_ids(text: str) -> None:
    """A text is a valid id only if a UUIDv7 gives the same text."""
    if is_client_msg_id(text):
        assert uuid7(*uuid7_parts(text)) == text


@pytest.mark.parametrize("number", [(-1, 0), (1 << 48, 0), (0, -1), (0, MAX_RANDOM + 1)])
def test_numbers_out_of_range_are_refused(number: tuple[int, int]) -> None:
    """A number out of range is an error and is not truncated."""
    with pytest.raises(ValueError, match="bits"):
        uuid7(*number)


epochs = st.integers(0, (1 << 15) - 1)
offsets = st.integers(0, (1 << 48) - 1)


@given(epochs, offsets, epochs, offsets)
def test_sync_seqs_increase_with_epoch_and_offset(a: int, b: int, c: int, d: int) -> None:
    """A sync SeqId contains epoch and offset, and is ordered by them."""
    assert unpack_sync_seq(sync_seq(EpochNumber(a), Offset(b))) == (a, b)
    assert (sync_seq(EpochNumber(a), Offset(b)) < sync_seq(EpochNumber(c), Offset(d))) == (
        (a, b) < (c, d)
    )
    assert sync_seq(EpochNumber(a), Offset(b)) < 1 << 63


changes = st.lists(st.tuples(seqs, st.booleans()), max_size=12)


@given(changes)
def test_periods_are_disjoint_and_ordered(happened: list[tuple[SeqId, bool]]) -> None:
    """For any changes, periods do not overlap, and only the last one is open."""
    found = periods(happened)
    for earlier, later in itertools.pairwise(found):
        assert earlier.last is not None
        assert earlier.first <= earlier.last
        assert earlier.last + 1 < later.first or earlier.last == later.first


@given(st.lists(seqs, unique=True, max_size=10).map(sorted), st.integers(0, 31))
def test_seqids_between_join_and_leave_are_visible(turns: list[SeqId], seq: int) -> None:
    """A person reads from each join to the next leave, both included."""
    happened = [(turn, at % 2 == 0) for at, turn in enumerate(turns)]
    edges = [*turns, 10**9] if len(turns) % 2 else turns
    inside = any(a <= seq <= b for a, b in zip(edges[::2], edges[1::2], strict=True))
    assert visible(periods(reversed(happened)), SeqId(seq)) == inside


def test_a_period_without_an_end_is_open() -> None:
    """A member reads everything from the join on."""
    assert periods([(SeqId(3), True)]) == [Period(SeqId(3))]
    assert not visible([Period(SeqId(3))], SeqId(2))
    assert visible([Period(SeqId(3))], SeqId(10**12))


rules = st.sampled_from(["since_join", "all"])
happenings = st.lists(st.tuples(seqs, st.booleans(), rules), max_size=12)


def read_plainly(happened: list[MembershipChange], seq: int) -> bool:
    """Return whether a person may read ``seq``, by a walk through the person's changes.

    At each leave, and at the end for a member, the person has read up to that SeqId: from the last
    join, or from the beginning if that join opens everything.
    """
    may_read, began, inside = False, 0, False
    for change in sorted(happened):
        if change.joined and not inside:
            began = 1 if change.history == "all" else change.seq
        if not change.joined and inside:
            may_read |= began <= seq <= change.seq
        inside = change.joined
    return may_read or (inside and began <= seq)


@given(happenings, st.integers(1, 31), st.randoms())
def test_the_readable_seqids_are_those_that_each_join_opens(
    happened: list[tuple[SeqId, bool, HistoryRule]], seq: int, chance: Random
) -> None:
    """The readable parts equal a direct walk, for joins and leaves in any order with either rule.

    An entry is one change for one person, so no SeqId occurs with two meanings.
    """
    changes = [MembershipChange(*each) for each in {each[0]: each for each in happened}.values()]
    shuffled = [*changes, *changes[:3]]
    chance.shuffle(shuffled)
    assert visible(readable(shuffled), SeqId(seq)) == read_plainly(changes, seq)


@given(happenings)
def test_readable_parts_are_disjoint_and_ordered(
    happened: list[tuple[SeqId, bool, HistoryRule]],
) -> None:
    """Readable parts do not overlap, and the last one ends where the last period does."""
    changes = [MembershipChange(*each) for each in {each[0]: each for each in happened}.values()]
    found, stays = readable(changes), periods((each.seq, each.joined) for each in changes)
    for earlier, later in itertools.pairwise(found):
        assert earlier.last is not None
        assert earlier.first <= earlier.last < later.first
    assert [part.last for part in found[-1:]] == [stay.last for stay in stays[-1:]]


@given(happenings, rules)
def test_the_last_history_rule_applies_to_all_joins(
    happened: list[tuple[SeqId, bool, HistoryRule]], rule: HistoryRule
) -> None:
    """``since_join`` gives the membership periods; ``all`` gives one range from 1 to their end."""
    changes = [MembershipChange(SeqId(seq), joined, rule) for seq, joined, _ in happened]
    stays = periods((each.seq, each.joined) for each in changes)
    whole = [Period(SeqId(1), stays[-1].last)] if stays else []
    assert readable(changes) == (stays if rule == "since_join" else whole)


@given(st.lists(st.integers(1, 60), unique=True, max_size=3).map(sorted), st.integers(1, 60))
def test_the_last_period_decides_whose_edits_count(turns: list[SeqId], edit: int) -> None:
    """For a member each edit counts, and for a former member those up to the last leave."""
    happened = [MembershipChange(SeqId(turn), at % 2 == 0) for at, turn in enumerate(turns)]
    due = bool(turns) and (len(turns) % 2 == 1 or edit <= turns[-1])
    assert counts(readable(happened), SeqId(edit)) == due


def test_a_join_right_after_a_leave_continues_the_period() -> None:
    """Any number of joins and leaves in a row is one period."""
    happened = [MembershipChange(SeqId(seq), joined=seq % 2 == 1) for seq in range(5, 16_206)]
    assert readable(happened) == [Period(SeqId(5))]
    assert readable([*happened, MembershipChange(SeqId(16_206), joined=False)]) == [
        Period(SeqId(5), SeqId(16_206))
    ]
    assert readable([*happened, MembershipChange(SeqId(16_300), joined=False)]) == [
        Period(SeqId(5), SeqId(16_300))
    ]


def test_a_return_opens_the_history_by_the_rule() -> None:
    """A former member of an ``all`` conversation reads up to the leave; a join opens all of it."""
    away = [
        MembershipChange(SeqId(5), joined=True, history="all"),
        MembershipChange(SeqId(8), joined=False),
    ]
    assert readable(away) == [Period(SeqId(1), SeqId(8))]
    assert readable([*away, MembershipChange(SeqId(12), joined=True, history="all")]) == [
        Period(SeqId(1))
    ]
    assert readable([MembershipChange(SeqId(8), joined=False, history="all")]) == []
