"""The small functions that everybody relies on."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.ids import MAX_RANDOM, is_client_msg_id, uuid7, uuid7_parts
from schemas.sync_seq import sync_seq, unpack_sync_seq
from schemas.visibility import Period, periods, visible

moments = st.integers(0, (1 << 48) - 1)
randoms = st.integers(0, MAX_RANDOM)
seqs = st.integers(1, 30)


@given(moments, randoms)
def test_an_id_holds_its_parts(ms: int, random_bits: int) -> None:
    """What is laid out to a UUIDv7 can be read from it again, and it passes as one."""
    made = uuid7(ms, random_bits)
    assert is_client_msg_id(made)
    assert uuid7_parts(made) == (ms, random_bits)


@given(moments, randoms, moments, randoms)
def test_ids_are_ordered_as_their_parts(ms: int, bits: int, ms2: int, bits2: int) -> None:
    """Comparing the strings compares (milliseconds, random part)."""
    assert (uuid7(ms, bits) < uuid7(ms2, bits2)) == ((ms, bits) < (ms2, bits2))


@given(st.text(max_size=40))
def test_other_text_is_no_id(text: str) -> None:
    """Nothing passes as a UUIDv7 that cannot be laid out as one."""
    if is_client_msg_id(text):
        assert uuid7(*uuid7_parts(text)) == text


@pytest.mark.parametrize("number", [(-1, 0), (1 << 48, 0), (0, -1), (0, MAX_RANDOM + 1)])
def test_numbers_out_of_range_make_no_id(number: tuple[int, int]) -> None:
    """An id is never cut to fit."""
    with pytest.raises(ValueError, match="bits"):
        uuid7(*number)


epochs = st.integers(0, (1 << 15) - 1)
offsets = st.integers(0, (1 << 48) - 1)


@given(epochs, offsets, epochs, offsets)
def test_sync_seqs_grow_with_epoch_and_offset(a: int, b: int, c: int, d: int) -> None:
    """A later epoch is above all of an earlier one, and the parts can be read again."""
    assert unpack_sync_seq(sync_seq(a, b)) == (a, b)
    assert (sync_seq(a, b) < sync_seq(c, d)) == ((a, b) < (c, d))
    assert sync_seq(a, b) < 1 << 63


changes = st.lists(st.tuples(seqs, st.booleans()), max_size=12)


@given(changes)
def test_periods_are_apart_and_in_order(happened: list[tuple[int, bool]]) -> None:
    """Whatever is thrown at it, periods do not overlap and only the last is open."""
    found = periods(happened)
    for earlier, later in itertools.pairwise(found):
        assert earlier.last is not None
        assert earlier.first <= earlier.last <= later.first


@given(st.lists(seqs, unique=True, max_size=10).map(sorted), st.integers(0, 31))
def test_visible_is_between_join_and_leave(turns: list[int], seq: int) -> None:
    """Who joins and leaves in turn sees from each join to the next leave, both included."""
    happened = [(turn, at % 2 == 0) for at, turn in enumerate(turns)]
    edges = [*turns, 10**9] if len(turns) % 2 else turns
    inside = any(a <= seq <= b for a, b in zip(edges[::2], edges[1::2], strict=True))
    assert visible(periods(reversed(happened)), seq) == inside


def test_a_period_without_an_end_is_open() -> None:
    """A member sees everything from their joining on."""
    assert periods([(3, True)]) == [Period(3)]
    assert not visible([Period(3)], 2)
    assert visible([Period(3)], 10**12)
