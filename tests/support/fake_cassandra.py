"""A fake session of Cassandra whose answers the test chooses."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

from cassandra.cqltypes import BooleanType, Int32Type, LongType, UTF8Type
from cassandra.protocol import ColumnMetadata
from cassandra.query import (
    UNSET_VALUE,
    BatchStatement,
    PreparedStatement,
    Statement,
)

from sinks.cassandra.requests import IN_FLIGHT

_TYPES: Final = {
    "seq": LongType, "sync_seq": LongType, "at": LongType, "head": LongType, "bucket": LongType,
    "messages": LongType, "own_seq": LongType, "own_messages": LongType, "read_seq": LongType,
    "since": LongType, "until": LongType, "newest": LongType,
    "joined": BooleanType, "place": Int32Type, "ttl": Int32Type, "timestamp": LongType,
}  # fmt: skip
PROTOCOL: Final = 5

Row = dict[str, Any]


class Sent(NamedTuple):
    """One request: the table of its first row, and its rows by column without the unset ones."""

    table: str
    rows: Sequence[Row]


Answer = Callable[[Sent], Exception | None]
"""The server's answer to a request; None is success."""


class FakeSession:
    """Records requests, and answers each from another thread, as the driver does.

    Args:
        answer: Called in that thread; may wait.
        tables: The tables that ``system_schema`` lists; by default all.
    """

    def __init__(
        self, answer: Answer = lambda _: None, tables: Sequence[str] | None = None
    ) -> None:
        self.sent: list[Sent] = []
        self.time_ms = 1_000_000
        self.in_flight: list[Sent] = []
        self.in_flight_when_sent: list[set[str]] = []
        self.most_in_flight = 0
        self._answer = answer
        self._columns: dict[str, tuple[str, list[ColumnMetadata]]] = {}
        self._tables = tables
        self._lock = Lock()
        self._driver = ThreadPoolExecutor(IN_FLIGHT)

    def prepare(self, query: str) -> PreparedStatement:
        """Takes the columns from the text of a statement; a query has no columns here."""
        if query.startswith("SELECT"):
            return PreparedStatement([], b"", [], query, "k", PROTOCOL, [], None)
        names = re.findall(r"\w+", query[query.index("(") + 1 : query.index(")")])
        names += ["ttl"] if "USING TTL ?" in query else []
        if "TIMESTAMP ?" in query or "TIMESTAMP :" in query:
            names.append("timestamp" if "TIMESTAMP ?" in query else "seq")
        table = query.split()[2]
        columns = [ColumnMetadata("k", table, n, _TYPES.get(n, UTF8Type)) for n in names]
        self._columns[query] = (table, columns)
        return PreparedStatement(columns, query.encode(), [0], query, "k", PROTOCOL, [], None)

    def execute(self, query: str, parameters: tuple[str, str] = ("", "")) -> Any:
        """Answers the only two queries: the time, and whether a table exists."""
        if "now()" in query:
            return SimpleNamespace(one=lambda: (self.time_ms,))
        there = self._tables is None or parameters[1] in self._tables
        return SimpleNamespace(one=lambda: (parameters[1],) if there else None)

    def execute_async(self, statement: Statement) -> Any:
        """Sends one insert or one batch."""
        sent = self._decoded(statement)
        with self._lock:
            self.in_flight_when_sent.append({each.table for each in self.in_flight})
            self.sent.append(sent)
            self.in_flight.append(sent)
            self.most_in_flight = max(self.most_in_flight, len(self.in_flight))

        def add_callbacks(
            success: Callable[[object], None],
            failure: Callable[..., None],
            errback_args: tuple[Any, ...],
        ) -> None:
            self._driver.submit(self._finish, sent, success, failure, errback_args)

        return SimpleNamespace(add_callbacks=add_callbacks)

    def _finish(
        self,
        sent: Sent,
        success: Callable[[object], None],
        failure: Callable[..., None],
        errback_args: tuple[Any, ...],
    ) -> None:
        error = self._answer(sent)
        with self._lock:
            self.in_flight.remove(sent)
        if error is None:
            success(None)
        else:
            failure(error, *errback_args)

    def tables(self) -> list[str]:
        """The table of each request, in the order of sending."""
        return [sent.table for sent in self.sent]

    def _decoded(self, statement: Statement) -> Sent:
        assert statement.is_idempotent
        if isinstance(statement, BatchStatement):
            # The driver has no public way to read the content of a batch.
            packed = statement._statements_and_parameters  # noqa: SLF001 - see above
            rows = [(query.decode(), values) for _, query, values in packed]
        else:
            rows = [(statement.prepared_statement.query_id.decode(), statement.values)]
        table = self._columns[rows[0][0]][0]
        return Sent(table, [self._row(query, values) for query, values in rows])

    def _row(self, query: str, values: Sequence[Any]) -> Row:
        return {
            column.name: column.type.from_binary(value, PROTOCOL)
            for column, value in zip(self._columns[query][1], values, strict=True)
            if value is not UNSET_VALUE
        }
