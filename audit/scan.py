"""Read whole Cassandra tables: token ranges, page by page, several ranges in parallel."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Final

import stamina
from cassandra.cluster import ResponseFuture, Session
from cassandra.query import BoundStatement

from backends.cassandra.driver_errors import DRIVER_ERRORS, TRANSIENT_ERRORS
from schemas.errors import ServerUnavailable

ROWS_PER_PAGE: Final = 5_000
"""Rows of a page: at most 9 KB each, mostly 300 bytes."""

PAGES_IN_FLIGHT: Final = 3
"""Pages in flight: the server reads the next pages while one page is processed."""

RANGES: Final = 48
"""Number of token ranges. A retry repeats only one page, so the ranges may be large."""

_FIRST_TOKEN: Final = -(2**63)
_LAST_TOKEN: Final = 2**63 - 1
_ATTEMPTS: Final = 5


def scan(session: Session, table: str, key: str, columns: str) -> Iterator[tuple[Any, ...]]:
    """All rows of a table. Rows of one partition are in order; partitions are in any order.

    Args:
        session: A session in the keyspace of the deployment.
        table: The name of the table.
        key: The columns of the partition key, comma-separated.
        columns: The columns to select, comma-separated.

    Raises:
        ServerUnavailable: Cassandra does not answer in time.
    """
    for page in scan_pages(session, table, key, columns):
        yield from page


def scan_pages(
    session: Session, table: str, key: str, columns: str, *, together: int = 0
) -> Iterator[list[tuple[Any, ...]]]:
    """All rows of a table in pages. A page is cleared when the next page is requested.

    Args:
        session: See `scan`.
        table: See `scan`.
        key: See `scan`.
        columns: See `scan`.
        together: The number of leading columns that form the partition key, if the rows of a
            partition must be adjacent; 0 if they need not.

    Raises:
        ServerUnavailable: See `scan`.
    """
    try:
        prepared = session.prepare(
            f"SELECT {columns} FROM {table} WHERE token({key}) > ? AND token({key}) <= ?"  # noqa: S608 - names of ours
        )
    except DRIVER_ERRORS as error:
        raise _unavailable(table, error) from error
    waiting = deque(prepared.bind(bounds) for bounds in _ranges())
    running: deque[_Reading] = deque()
    while waiting or running:
        while waiting and len(running) < PAGES_IN_FLIGHT:
            running.append(_Reading(session, table, waiting.popleft(), together))
        reading = running.popleft()
        page = reading.page()
        if reading.has_more:
            reading.go_on()
            running.append(reading)
        yield page
        # The driver's timer holds a response until the request timeout, even after its arrival.
        page.clear()


def _ranges() -> Iterator[tuple[int, int]]:
    """The token ranges of the ring. No key has the lowest token."""
    width = 2**64 // RANGES
    start = _FIRST_TOKEN
    for number in range(1, RANGES + 1):
        end = _LAST_TOKEN if number == RANGES else _FIRST_TOKEN + number * width
        yield start, end
        start = end


class _Reading:
    """The reading of one range. One of its pages is always in flight."""

    def __init__(
        self, session: Session, table: str, statement: BoundStatement, together: int
    ) -> None:
        statement.fetch_size = ROWS_PER_PAGE
        self._together = together
        self._partial: list[tuple[Any, ...]] = []
        self._session = session
        self._table = table
        self._statement = statement
        self._state: bytes | None = None
        self._future = self._request()
        self.has_more = False

    def page(self) -> list[tuple[Any, ...]]:
        """Wait for the page. Retry transient failures."""
        try:
            for attempt in stamina.retry_context(
                on=TRANSIENT_ERRORS, attempts=_ATTEMPTS, timeout=None, wait_initial=0.5
            ):
                with attempt:
                    if attempt.num > 1:
                        self._future = self._request()
                    rows = self._future.result()
        except DRIVER_ERRORS as error:
            raise _unavailable(self._table, error) from error
        self.has_more = self._future.has_more_pages
        if self.has_more:
            self._state = rows.paging_state
        return self._whole(rows.current_rows) if self._together else rows.current_rows

    def _whole(self, page: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """The previous remainder and the page, without the last partition if it may continue."""
        found = self._partial + page
        page.clear()
        end = len(found)
        if self.has_more and found:
            partition = found[-1][: self._together]
            while end and found[end - 1][: self._together] == partition:
                end -= 1
        self._partial = found[end:]
        del found[end:]
        return found

    def go_on(self) -> None:
        """Request the next page."""
        self._future = self._request()

    def _request(self) -> ResponseFuture:
        return self._session.execute_async(self._statement, paging_state=self._state)


def _unavailable(table: str, error: Exception) -> ServerUnavailable:
    return ServerUnavailable(f"Cassandra, table {table}: {type(error).__name__}: {error}")
