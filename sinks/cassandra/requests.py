"""Rows in requests, many requests at a time, and what it means when one fails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from cassandra import (
    DriverException,
    InvalidRequest,
    OperationTimedOut,
    RequestExecutionException,
)
from cassandra.cluster import NoHostAvailable, Session
from cassandra.concurrent import execute_concurrent
from cassandra.connection import ConnectionBusy, ConnectionException
from cassandra.pool import NoConnectionsAvailable
from cassandra.protocol import RequestExecutionException as RawExecutionException
from cassandra.protocol import ServerError
from cassandra.query import BatchStatement, BatchType, BoundStatement, PreparedStatement, Statement

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


class Row(NamedTuple):
    """One insert, and the position of the record that it comes from.

    ``size``: about how many bytes it takes in a request.
    """

    insert: BoundStatement
    origin: int
    size: int


class Request(NamedTuple):
    """Rows of one partition that travel together."""

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


def requests_of(rows: Iterable[Row]) -> Iterator[Request]:
    """Cuts the rows of one partition into requests."""
    chosen: list[Row] = []
    size = 0
    for row in rows:
        if chosen and (len(chosen) == MAX_ROWS or size + row.size > MAX_BYTES):
            yield Request(chosen)
            chosen, size = [], 0
        chosen.append(row)
        size += row.size
    if chosen:
        yield Request(chosen)


def execute(session: Session, requests: Sequence[Request]) -> Outcome:
    """Sends requests, a bounded number at a time and in any order, and waits for all answers.

    A request that the server refuses is taken apart, so that only the rows that it means are
    poison.

    Raises:
        TransientFailure: The server does not answer.
        FatalFailure: It refuses this client altogether, or a table is missing.
    """
    refused, again, why = _send(session, requests)
    poison: set[int] = set()
    if refused:
        _require_table(session, refused[0])
        refused, more, _ = _send(session, [Request([r]) for req in refused for r in req.rows])
        poison = {row.origin for request in refused for row in request.rows}
        again += more
    pending = {row.origin for request in again for row in request.rows} - poison
    return Outcome(
        [PoisonRecord(index, REFUSED) for index in sorted(poison)],
        sorted(pending),
        why,
    )


def _send(
    session: Session, requests: Sequence[Request]
) -> tuple[list[Request], list[Request], str]:
    """Returns the requests that were refused, those that failed for now, and why these did."""
    # A list and not a generator: one that raises inside the driver would never be heard of again.
    statements = [(request.statement(), None) for request in requests]
    results = execute_concurrent(session, statements, IN_FLIGHT, raise_on_first_error=False)
    refused, again, why = [], [], ""
    for request, (done, error) in zip(requests, results, strict=True):
        if done:
            continue
        if isinstance(error, InvalidRequest):
            refused.append(request)
        elif isinstance(error, _TRANSIENT):
            again.append(request)
            why = f"{type(error).__name__} from Cassandra"
        else:
            raise FatalFailure(f"{type(error).__name__} from Cassandra") from error
    return refused, again, why


def _require_table(session: Session, request: Request) -> None:
    """Tells a bad row from a table that is gone; the server gives both the same error."""
    column = request.rows[0].insert.prepared_statement.column_metadata[0]
    with failures_by_kind():
        found = session.execute(
            "SELECT table_name FROM system_schema.tables "
            "WHERE keyspace_name = %s AND table_name = %s",
            (column.keyspace_name, column.table_name),
        ).one()
    if found is None:
        raise FatalFailure(f"there is no table {column.keyspace_name}.{column.table_name}")


@contextmanager
def failures_by_kind() -> Iterator[None]:
    """Gives the driver's errors in its block their kind.

    Raises:
        TransientFailure: The server does not answer, or cannot now.
        FatalFailure: It refuses.
    """
    try:
        yield
    except _TRANSIENT as error:
        raise TransientFailure(f"{type(error).__name__} from Cassandra") from error
    except DriverException as error:
        raise FatalFailure(f"{type(error).__name__} from Cassandra") from error
