"""Reads whole Cassandra tables: ranges of the token ring, page by page, some at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Final

import stamina
from cassandra import DriverException, OperationTimedOut, ReadFailure, ReadTimeout, Unavailable
from cassandra.cluster import NoHostAvailable, ResponseFuture, Session
from cassandra.query import BoundStatement

from schemas.errors import ServerUnavailable

PAGE: Final = 5_000
"""Rows of a page: at most 9 KB each, mostly 300 bytes."""

IN_FLIGHT: Final = 3
"""Pages on their way: while one is looked at, the server reads the next ones."""

RANGES: Final = 48
"""Parts of the ring. A failed page is read again, so they need not be small."""

_FIRST_TOKEN: Final = -(2**63)
_LAST_TOKEN: Final = 2**63 - 1
_ATTEMPTS: Final = 5
_TRANSIENT: Final = (OperationTimedOut, ReadTimeout, ReadFailure, Unavailable, NoHostAvailable)


def scan(session: Session, table: str, key: str, columns: str) -> Iterator[tuple[Any, ...]]:
    """All rows of a table; those of one partition one after the other.

    Args:
        session: In the keyspace of the deployment.
        table: Its name.
        key: The columns of its partition key, with commas between.
        columns: What to select.

    Raises:
        ServerUnavailable: Cassandra does not answer, or not in time.
    """
    for page in scan_pages(session, table, key, columns):
        yield from page


def scan_pages(
    session: Session, table: str, key: str, columns: str
) -> Iterator[list[tuple[Any, ...]]]:
    """The same, page by page. A page is emptied when the next one is asked for."""
    try:
        prepared = session.prepare(
            f"SELECT {columns} FROM {table} WHERE token({key}) > ? AND token({key}) <= ?"  # noqa: S608 - names of ours
        )
    except DriverException as error:
        raise _unavailable(table, error) from error
    waiting = deque(prepared.bind(bounds) for bounds in _ranges())
    running: deque[_Reading] = deque()
    while waiting or running:
        while waiting and len(running) < IN_FLIGHT:
            running.append(_Reading(session, table, waiting.popleft()))
        reading = running.popleft()
        page = reading.page()
        if reading.has_more:
            reading.go_on()
            running.append(reading)
        yield page
        # The driver's timer holds an answer for the whole request timeout, even when it came.
        page.clear()


def _ranges() -> Iterator[tuple[int, int]]:
    """Cuts the ring. No key has the first token of all."""
    width = 2**64 // RANGES
    start = _FIRST_TOKEN
    for number in range(1, RANGES + 1):
        end = _LAST_TOKEN if number == RANGES else _FIRST_TOKEN + number * width
        yield start, end
        start = end


class _Reading:
    """One range, of which always one page is on its way."""

    def __init__(self, session: Session, table: str, statement: BoundStatement) -> None:
        statement.fetch_size = PAGE
        self._session = session
        self._table = table
        self._statement = statement
        self._state: bytes | None = None
        self._future = self._ask()
        self.has_more = False

    def page(self) -> list[tuple[Any, ...]]:
        """Waits for the page; reads it again where that may help."""
        try:
            for attempt in stamina.retry_context(
                on=_TRANSIENT, attempts=_ATTEMPTS, timeout=None, wait_initial=0.5
            ):
                with attempt:
                    if attempt.num > 1:
                        self._future = self._ask()
                    rows = self._future.result()
        except (*_TRANSIENT, DriverException) as error:
            raise _unavailable(self._table, error) from error
        self.has_more = self._future.has_more_pages
        if self.has_more:
            self._state = rows.paging_state
        found: list[tuple[Any, ...]] = rows.current_rows
        return found

    def go_on(self) -> None:
        """Asks for the next page."""
        self._future = self._ask()

    def _ask(self) -> ResponseFuture:
        return self._session.execute_async(self._statement, paging_state=self._state)


def _unavailable(table: str, error: Exception) -> ServerUnavailable:
    return ServerUnavailable(f"Cassandra, table {table}: {type(error).__name__}: {error}")
