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
    """All rows of a table, in any order; those of one partition in the order of their keys.

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
    session: Session, table: str, key: str, columns: str, *, together: int = 0
) -> Iterator[list[tuple[Any, ...]]]:
    """The same, page by page. A page is emptied when the next one is asked for.

    Args:
        session: See `scan`.
        table: See `scan`.
        key: See `scan`.
        columns: See `scan`.
        together: How many of the first columns are the partition key, if the rows of a partition
            have to come one after the other; 0 if they may be apart.

    Raises:
        ServerUnavailable: See `scan`.
    """
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
            running.append(_Reading(session, table, waiting.popleft(), together))
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

    def __init__(
        self, session: Session, table: str, statement: BoundStatement, together: int
    ) -> None:
        statement.fetch_size = PAGE
        self._together = together
        self._cut_off: list[tuple[Any, ...]] = []
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
        return self._whole(rows.current_rows) if self._together else rows.current_rows

    def _whole(self, page: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """A page without its last partition, which may go on, but with that of the page before."""
        found = self._cut_off + page
        page.clear()
        end = len(found)
        if self.has_more and found:
            partition = found[-1][: self._together]
            while end and found[end - 1][: self._together] == partition:
                end -= 1
        self._cut_off = found[end:]
        del found[end:]
        return found

    def go_on(self) -> None:
        """Asks for the next page."""
        self._future = self._ask()

    def _ask(self) -> ResponseFuture:
        return self._session.execute_async(self._statement, paging_state=self._state)


def _unavailable(table: str, error: Exception) -> ServerUnavailable:
    return ServerUnavailable(f"Cassandra, table {table}: {type(error).__name__}: {error}")
