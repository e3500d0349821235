"""Sends rows in requests, many requests in parallel, and classifies failures.

`cassandra.concurrent.execute_concurrent` would lose two properties: it waits for the driver
without a limit, and it builds all requests but the first ones in the driver's event thread.
`benchmarks.concurrent_requests` compares the speed of both.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Semaphore
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from cassandra import InvalidRequest, Unauthorized
from cassandra.cluster import Session
from cassandra.query import BatchStatement, BatchType, BoundStatement, PreparedStatement, Statement
from msgspec import Struct

from backends.cassandra.driver_errors import DRIVER_ERRORS, TRANSIENT_ERRORS
from backends.cassandra.session import REQUEST_SECONDS, not_permitted
from schemas.errors import FatalFailure, PoisonRecord, TransientFailure
from sinks.base.writer_port import WriteOutcome

MAX_ROWS: Final = 100
"""Rows in one request. More rows are not faster, and make a timeout more costly."""

MAX_BYTES: Final = 64 * 1024
"""Bytes in one request, unless a single row is larger."""

MAX_SHARED_PARTITIONS: Final = 10
"""Partitions in one request. The server warns about requests with more partitions."""

SMALL_PARTITION: Final = 10
"""A partition with fewer rows shares its request with other partitions."""

MAX_SHARED_BYTES: Final = 32 * 1024
"""Bytes in a request of several partitions. Cassandra refuses such a request above 50 KiB."""

IN_FLIGHT: Final = 32
"""Requests in flight, 2 MiB in all. The driver refuses requests when many large ones are in
flight."""

MAX_BIGINT: Final = (1 << 63) - 1
"""The largest value of the type bigint."""

MAX_PARTITION_KEY_BYTES: Final = (1 << 16) - 1
"""The maximum size of a part of a partition key; the driver itself fails with longer ones."""

REFUSED_BY_SERVER: Final = "Cassandra refuses the row"
"""The reason of a dead letter. The server's own error text may quote the row."""


def prepare_statement(session: Session, statement: str) -> PreparedStatement:
    """Prepares an idempotent insert.

    Raises:
        TransientFailure: The server does not answer.
        FatalFailure: A table is missing, or has another shape.
    """
    with failures_by_kind():
        prepared = session.prepare(statement)
    prepared.is_idempotent = True
    return prepared


class Row(Struct, frozen=True, gc=False):
    """One insert, and the position of its source record.

    ``size``: approximate size in a request, in bytes.
    """

    insert: BoundStatement
    origin: int
    size: int


class Sendable(Protocol):
    """A request for `send_statements`."""

    def statement(self) -> Statement:
        """The statement of the driver."""


RequestT = TypeVar("RequestT", bound=Sendable)
ItemT = TypeVar("ItemT")


class Request(NamedTuple):
    """The rows of one request: rows of one partition, or few rows of each of a few partitions."""

    rows: Sequence[Row]

    def statement(self) -> Statement:
        """A single insert, or an unlogged batch."""
        if len(self.rows) == 1:
            return self.rows[0].insert
        batch = BatchStatement(batch_type=BatchType.UNLOGGED)
        batch.is_idempotent = True
        for row in self.rows:
            batch.add(row.insert)
        return batch


def grouped(
    items: Iterable[ItemT], cost_of: Callable[[ItemT], tuple[int, int]], bounds: tuple[int, int]
) -> Iterator[list[ItemT]]:
    """Cuts items into lists within bounds. A list exceeds a bound only if its one item does.

    Args:
        items: The parts of requests, in the order of sending.
        cost_of: The inserts of an item, and its bytes in a request.
        bounds: The highest number of inserts and of bytes in a list.
    """
    most_inserts, most_bytes = bounds
    chosen: list[ItemT] = []
    inserts = size = 0
    for item in items:
        more_inserts, more_bytes = cost_of(item)
        if chosen and (inserts + more_inserts > most_inserts or size + more_bytes > most_bytes):
            yield chosen
            chosen, inserts, size = [], 0, 0
        chosen.append(item)
        inserts += more_inserts
        size += more_bytes
    if chosen:
        yield chosen


def requests_of(rows: Iterable[Row]) -> Iterator[Request]:
    """Cuts rows that may be in one request into requests."""
    return map(Request, grouped(rows, lambda row: (1, row.size), (MAX_ROWS, MAX_BYTES)))


def shared_requests(partitions: Iterable[Sequence[Row]]) -> Iterator[Request]:
    """Cuts the rows of many partitions into requests; small partitions share requests.

    Partitions of different tables share no request, so that a missing table is recognised.

    Args:
        partitions: The rows of each partition.
    """
    small: defaultdict[PreparedStatement, list[Sequence[Row]]] = defaultdict(list)
    for rows in partitions:
        if len(rows) < SMALL_PARTITION and _bytes_of(rows) <= MAX_SHARED_BYTES:
            small[rows[0].insert.prepared_statement].append(rows)
        else:
            yield from requests_of(rows)
    bounds = MAX_SHARED_PARTITIONS, MAX_SHARED_BYTES
    for same_table in small.values():
        for chosen in grouped(same_table, lambda rows: (1, _bytes_of(rows)), bounds):
            yield Request(list(itertools.chain.from_iterable(chosen)))


def _bytes_of(rows: Iterable[Row]) -> int:
    return sum(row.size for row in rows)


def execute(session: Session, requests: Iterable[Request]) -> WriteOutcome:
    """Sends requests, a bounded number in parallel and in any order, and waits for all responses.

    Pass an iterator, so that requests are built while others are in flight: the statements of a
    whole batch would need more memory, and more time of the garbage collector, than all else here.

    A refused request is split, so that only the refused rows are poison.

    Raises:
        TransientFailure: The server does not answer.
        FatalFailure: The server refuses this client altogether, or a table is missing.
    """
    refused, to_retry = send_statements(session, requests)
    poison: set[int] = set()
    if refused:
        require_table(session, refused[0].rows[0].insert.prepared_statement)
        refused, more = send_statements(
            session, (Request([row]) for req in refused for row in req.rows)
        )
        poison = {row.origin for request in refused for row in request.rows}
        to_retry += more
    pending = {row.origin for request, _ in to_retry for row in request.rows} - poison
    return WriteOutcome(
        [PoisonRecord(origin, REFUSED_BY_SERVER) for origin in sorted(poison)],
        sorted(pending),
        str(to_retry[0][1]) if to_retry else "",
    )


def send_statements(
    session: Session, requests: Iterable[RequestT]
) -> tuple[list[RequestT], list[tuple[RequestT, TransientFailure]]]:
    """Sends requests as `execute` does.

    Returns:
        The requests that the server refuses, and the requests that failed temporarily.

    Raises:
        TransientFailure: The driver does not answer.
        FatalFailure: The server refuses this client altogether.
    """
    failed = _LimitedRequests[RequestT](session).send(requests)
    refused: list[RequestT] = []
    to_retry: list[tuple[RequestT, TransientFailure]] = []
    for request, error in failed:
        if isinstance(error, InvalidRequest):
            refused.append(request)
        else:
            to_retry.append((request, _transient(error)))
    return refused, to_retry


class _LimitedRequests(Generic[RequestT]):
    """Limits the number of requests in flight."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._in_flight = Semaphore(IN_FLIGHT)
        self._failed: list[tuple[RequestT, Exception]] = []

    def send(self, requests: Iterable[RequestT]) -> list[tuple[RequestT, Exception]]:
        """Returns the failed requests when all have a response."""
        for request in requests:
            self._wait_for_room()
            future = self._session.execute_async(request.statement())
            # The driver calls one of the two once, within its timeout, in its own thread.
            future.add_callbacks(self._on_success, self._on_failure, errback_args=(request,))
        for _ in range(IN_FLIGHT):
            self._wait_for_room()
        return self._failed

    def _wait_for_room(self) -> None:
        if not self._in_flight.acquire(timeout=2 * REQUEST_SECONDS):
            raise TransientFailure("the Cassandra driver does not call back")

    def _on_success(self, _rows: object) -> None:
        self._in_flight.release()

    def _on_failure(self, error: Exception, request: RequestT) -> None:
        self._failed.append((request, error))
        self._in_flight.release()


def require_table(session: Session, refused: PreparedStatement) -> None:
    """Distinguishes a bad row from a missing table; the server returns the same error for both.

    Raises:
        TransientFailure: The server does not answer.
        FatalFailure: The table of the refused insert is gone.
    """
    column = refused.column_metadata[0]
    with failures_by_kind():
        table = session.execute(
            "SELECT table_name FROM system_schema.tables "
            "WHERE keyspace_name = %s AND table_name = %s",
            (column.keyspace_name, column.table_name),
        ).one()
    if table is None:
        raise FatalFailure(f"there is no table {column.keyspace_name}.{column.table_name}")


def _transient(error: Exception) -> TransientFailure:
    """Converts an error of the driver.

    Raises:
        AccessRefused: The role of the client lacks a permission.
        FatalFailure: A retry cannot solve the error.
    """
    if isinstance(error, Unauthorized):
        raise not_permitted(error) from error
    name = f"{type(error).__name__} from Cassandra"
    if isinstance(error, TRANSIENT_ERRORS):
        return TransientFailure(name)
    raise FatalFailure(name) from error


@contextmanager
def failures_by_kind() -> Iterator[None]:
    """Converts the driver's errors in its block.

    Raises:
        TransientFailure: The server does not answer, or fails temporarily.
        FatalFailure: The server refuses the request.
    """
    try:
        yield
    except DRIVER_ERRORS as error:
        raise _transient(error) from error
