"""A scan of a whole table returns each row once, also with retries of pages."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import pytest
import stamina
from cassandra import OperationTimedOut

from audit.scan import scan, scan_pages
from schemas.errors import ServerUnavailable

PAGES = 3
Bounds = tuple[int, int]


class _Statement:
    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.fetch_size = 0


class _Rows(NamedTuple):
    current_rows: list[tuple[Any, ...]]
    paging_state: bytes


class _Answer:
    """A page whose rows are (range, number of the page), or an error."""

    def __init__(self, bounds: Bounds, number: int, error: Exception | None) -> None:
        self._rows = _Rows([(bounds, number)], bytes([number + 1]))
        self._error = error
        self.has_more_pages = number + 1 < PAGES

    def result(self) -> _Rows:
        if self._error is not None:
            raise self._error
        return self._rows


class _Session:
    """Answers as the driver does; ``errors`` are raised by the first answers of each page."""

    def __init__(self, errors: int = 0) -> None:
        self._errors = errors
        self._asked: dict[tuple[Bounds, int], int] = {}

    def prepare(self, _query: str) -> _Session:
        return self

    def bind(self, bounds: Bounds) -> _Statement:
        return _Statement(bounds)

    def execute_async(self, statement: _Statement, paging_state: bytes | None) -> _Answer:
        number = 0 if paging_state is None else paging_state[0]
        place = (statement.bounds, number)
        self._asked[place] = self._asked.get(place, 0) + 1
        failed = self._asked[place] <= self._errors
        return _Answer(statement.bounds, number, OperationTimedOut() if failed else None)


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    stamina.set_testing(True, attempts=5)
    yield
    stamina.set_testing(False)


def test_the_ranges_are_the_whole_ring() -> None:
    """The ranges cover the ring without an overlap."""
    ranges = sorted({row[0] for row in scan(_Session(), "sync", "user_id", "*")})

    assert ranges[0][0] == -(2**63)
    assert ranges[-1][1] == 2**63 - 1
    assert [end for _, end in ranges[:-1]] == [start for start, _ in ranges[1:]]


@pytest.mark.parametrize("errors", [0, 1, 3])
def test_each_page_of_each_range_is_returned_once(errors: int) -> None:
    """A page that timed out is requested again from the same position, and no row is doubled."""
    rows = list(scan(_Session(errors), "sync", "user_id", "*"))

    assert len(rows) == len(set(rows))
    by_range: dict[Bounds, list[int]] = {}
    for bounds, number in rows:
        by_range.setdefault(bounds, []).append(number)
    assert set(map(tuple, by_range.values())) == {tuple(range(PAGES))}


def test_a_partition_that_spans_pages_is_returned_as_a_whole() -> None:
    """The rows of a range come in order, without rows of other ranges between them."""
    pages = scan_pages(_Session(), "sync", "bounds", "bounds, number", together=1)
    rows = [row for page in pages for row in page]

    partitions = [(bounds, list(found)) for bounds, found in groupby(rows, itemgetter(0))]

    assert len(partitions) == len({bounds for bounds, _ in partitions})
    assert all(found == [(at, n) for n in range(PAGES)] for at, found in partitions)


def test_a_server_that_does_not_answer_is_an_error_with_the_tables_name() -> None:
    """The number of attempts is bounded, and the error names the table."""
    with pytest.raises(ServerUnavailable, match="table sync"):
        list(scan(_Session(errors=100), "sync", "user_id", "*"))
