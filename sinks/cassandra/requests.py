"""Rows in requests, many requests at a time, and what it means when one fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Semaphore
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from cassandra import (
    DriverException,
    InvalidRequest,
    OperationTimedOut,
    RequestExecutionException,
)
from cassandra.cluster import NoHostAvailable, Session
from cassandra.connection import ConnectionBusy, ConnectionException
from cassandra.pool import NoConnectionsAvailable
from cassandra.protocol import RequestExecutionException as RawExecutionException
from cassandra.protocol import ServerError
from cassandra.query import BatchStatement, BatchType, BoundStatement, PreparedStatement, Statement
from msgspec import Struct

from backends.cassandra import REQUEST_SECONDS
from schemas.errors import FatalFailure, PoisonRecord, TransientFailure
from sinks.base.writer import Outcome

MAX_ROWS: Final = 100
"""Rows of one request. More make the server no faster, and a timeout more costly."""

MAX_BYTES: Final = 64 * 1024
"""Bytes of one request, unless a single row is larger."""

IN_FLIGHT: Final = 32
"""Requests at a time, so 2 MiB. The driver refuses work when many large ones are on their way."""

MAX_BIGINT: Final = (1 << 63) - 1
"""The largest number of the type bigint."""

MAX_KEY_BYTES: Final = (1 << 16) - 1
"""The longest part of a partition key; the driver itself fails of longer ones."""

REFUSED: Final = "Cassandra refuses the row"
"""The reason of a dead letter. The server's own words may quote the row."""

_TRANSIENT: Final = (
    OperationTimedOut,
    RequestExecutionException,  # timeouts, too few replicas, failures of a replica
    RawExecutionException,  # those that the driver has no class of its own for: overloaded, …
    ServerError,
    NoHostAvailable,
    NoConnectionsAvailable,
    ConnectionException,
    ConnectionBusy,
)


def prepare(session: Session, statement: str) -> PreparedStatement:
    """Prepares an insert that may be written any number of times.

    Raises:
        TransientFailure: The server does not answer.
        FatalFailure: A table is missing, or has another shape.
    """
    with failures_by_kind():
        prepared = session.prepare(statement)
    prepared.is_idempotent = True
    return prepared


class Row(Struct, frozen=True, gc=False):
    """One insert, and the position of the record that it comes from.

    ``size``: about how many bytes it takes in a request.
    """

    insert: BoundStatement
    origin: int
    size: int


class Sendable(Protocol):
    """A request for `send`."""

    def statement(self) -> Statement:
        """The statement of the driver."""


RequestT = TypeVar("RequestT", bound=Sendable)
ItemT = TypeVar("ItemT")


class Request(NamedTuple):
    """Rows that travel together: of one partition, but for one that belongs to them.

    Or of a few partitions, where each has one row.
    """

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


def cut(
    items: Iterable[ItemT], cost_of: Callable[[ItemT], tuple[int, int]], bounds: tuple[int, int]
) -> Iterator[list[ItemT]]:
    """Cuts items into lists within bounds. A list exceeds a bound only if its one item does.

    Args:
        items: What requests are made of, in the order of sending.
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
    """Cuts rows that may travel together into requests."""
    return map(Request, cut(rows, lambda row: (1, row.size), (MAX_ROWS, MAX_BYTES)))


def execute(session: Session, requests: Iterable[Request]) -> Outcome:
    """Sends requests, a bounded number at a time and in any order, and waits for all answers.

    The requests are built while others are on their way, so let them come from an iterator: the
    statements of a whole batch cost more to hold, and the garbage collector more to look
    through, than anything else here.

    A request that the server refuses is taken apart, so that only the rows that it means are
    poison.

    Raises:
        TransientFailure: The server does not answer.
        FatalFailure: It refuses this client altogether, or a table is missing.
    """
    refused, again = send(session, requests)
    poison: set[int] = set()
    if refused:
        require_table(session, refused[0].rows[0].insert.prepared_statement)
        refused, more = send(session, (Request([row]) for req in refused for row in req.rows))
        poison = {row.origin for request in refused for row in request.rows}
        again += more
    pending = {row.origin for request, _ in again for row in request.rows} - poison
    return Outcome(
        [PoisonRecord(origin, REFUSED) for origin in sorted(poison)],
        sorted(pending),
        str(again[0][1]) if again else "",
    )


def send(
    session: Session, requests: Iterable[RequestT]
) -> tuple[list[RequestT], list[tuple[RequestT, TransientFailure]]]:
    """Sends requests as `execute` does.

    Returns:
        The requests that the server refuses, and the requests that failed for now.

    Raises:
        TransientFailure: The driver does not answer.
        FatalFailure: The server refuses this client altogether.
    """
    failed = _Window[RequestT](session).send(requests)
    refused: list[RequestT] = []
    again: list[tuple[RequestT, TransientFailure]] = []
    for request, error in failed:
        if isinstance(error, InvalidRequest):
            refused.append(request)
        else:
            again.append((request, _transient(error)))
    return refused, again


class _Window(Generic[RequestT]):
    """Keeps a bounded number of requests on their way."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._slots = Semaphore(IN_FLIGHT)
        self._failed: list[tuple[RequestT, Exception]] = []

    def send(self, requests: Iterable[RequestT]) -> list[tuple[RequestT, Exception]]:
        """Returns the requests that failed when all have their answer."""
        for request in requests:
            self._take_slot()
            future = self._session.execute_async(request.statement())
            # The driver calls one of them in a thread of its own, once, within its timeout.
            future.add_callbacks(self._on_success, self._on_failure, errback_args=(request,))
        for _ in range(IN_FLIGHT):
            self._take_slot()
        return self._failed

    def _take_slot(self) -> None:
        if not self._slots.acquire(timeout=2 * REQUEST_SECONDS):
            raise TransientFailure("the Cassandra driver does not call back")

    def _on_success(self, _rows: object) -> None:
        self._slots.release()

    def _on_failure(self, error: Exception, request: RequestT) -> None:
        self._failed.append((request, error))
        self._slots.release()


def require_table(session: Session, refused: PreparedStatement) -> None:
    """Tells a bad row from a table that is gone; the server gives both the same error.

    Raises:
        TransientFailure: The server does not answer.
        FatalFailure: The table of the refused insert is gone.
    """
    column = refused.column_metadata[0]
    with failures_by_kind():
        found = session.execute(
            "SELECT table_name FROM system_schema.tables "
            "WHERE keyspace_name = %s AND table_name = %s",
            (column.keyspace_name, column.table_name),
        ).one()
    if found is None:
        raise FatalFailure(f"there is no table {column.keyspace_name}.{column.table_name}")


def _transient(error: Exception) -> TransientFailure:
    """The kind of an error of the driver.

    Raises:
        FatalFailure: It will not pass.
    """
    name = f"{type(error).__name__} from Cassandra"
    if isinstance(error, _TRANSIENT):
        return TransientFailure(name)
    raise FatalFailure(name) from error


@contextmanager
def failures_by_kind() -> Iterator[None]:
    """Gives the driver's errors in its block their kind.

    Raises:
        TransientFailure: The server does not answer, or cannot now.
        FatalFailure: It refuses.
    """
    try:
        yield
    except (DriverException, *_TRANSIENT) as error:
        raise _transient(error) from error
