"""The table of idle conversations behaves like a dictionary."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stream_processors.state.idle_table import IN_A_CELL, MAX_IN_CELL, IdleTable

keys = st.binary(max_size=2) | st.binary(min_size=300, max_size=600)
values = st.binary(max_size=4) | st.integers(MAX_IN_CELL - 1, MAX_IN_CELL + 1).map(bytes)
"""Few ids, so that the same id is used again. Values on both sides of the bound of a cell."""

expected = st.sampled_from([0, 1, 3 * IN_A_CELL, 8 * IN_A_CELL, 9 * IN_A_CELL])
"""Numbers of cells at the begin, with a power of two among them."""


def numbered(number: int) -> bytes:
    """A value that differs for each number."""
    return b"value %d" % number


@given(expected, st.lists(st.tuples(keys, st.none() | values), max_size=60))
def test_a_value_is_taken_once_and_unchanged(
    size: int, steps: list[tuple[bytes, bytes | None]]
) -> None:
    """After any adds and takes, the table has the entries of a dictionary, and their sizes."""
    table, model = IdleTable(size), dict[bytes, bytes]()
    for key, value in steps:
        assert table.take(key) == model.pop(key, None)
        if value is not None:
            table.add(key, value)
            model[key] = value
        assert table.count == len(model)
        assert table.size == sum(map(len, model.values()))
    for key, value in model.items():
        assert table.take(key) == value
        assert table.take(key) is None
    assert (table.count, table.size) == (0, 0)


@given(expected, st.integers(1, 600))
def test_all_entries_are_found_while_the_table_grows(size: int, count: int) -> None:
    """Whatever the number of cells at the begin and at the end, each entry is found once."""
    table = IdleTable(size)
    for number in range(count):
        table.add(b"%d" % number, numbered(number))
    for number in range(0, count, 3):
        assert table.take(b"%d" % number) == numbered(number)
        table.add(b"%d" % number, numbered(-number))
    for number in range(count):
        value = numbered(-number if number % 3 == 0 else number)
        assert table.take(b"%d" % number) == value
        assert table.take(b"%d" % number) is None
    assert (table.count, table.size) == (0, 0)
