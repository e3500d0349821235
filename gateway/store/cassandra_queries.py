"""Prepared queries on Cassandra from an event loop, with a connection in the background."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from enum import Enum
from threading import Event, Thread
from typing import Any, Final, NamedTuple

from cassandra import InvalidRequest
from cassandra.cluster import Session
from cassandra.query import PreparedStatement

from backends.cassandra.driver_errors import DRIVER_ERRORS, TRANSIENT_ERRORS
from backends.cassandra.session import cassandra_session
from backends.cassandra.tables import use_keyspace
from gateway.store.bridge import Bridge
from schemas.errors import AccessRefused, ConfigurationError, ServerUnavailable
from schemas.settings import Settings

log = logging.getLogger(__name__)

QUERY_SECONDS: Final = 5.0
"""Timeout of one query."""

MAX_OF_ONE: Final = 32
"""Queries in flight for one page. Other pages share the rest of `MAX_IN_FLIGHT`."""

MAX_IN_FLIGHT: Final = 128
"""Queries in flight in all. The driver does not queue more than its connections carry."""

_RECONNECT_SECONDS: Final = 1.0
_JOIN_SECONDS: Final = 5.0
_CONNECT_ERRORS: Final[tuple[type[Exception], ...]] = (
    ServerUnavailable,
    ConfigurationError,
    AccessRefused,  # `gateway.http.deployment_guard` ends the process
    *DRIVER_ERRORS,
)

Rows = list[tuple[Any, ...]]


class _Ready(NamedTuple):
    session: Session
    statements: dict[Enum, PreparedStatement]


class CassandraQueries:
    """Runs a fixed set of queries. Connects in the background and reconnects after a loss.

    The driver's session is in its own thread, because connecting blocks. While there is no
    session, or no server is reachable, every query raises `ServerUnavailable` at once.

    Args:
        settings: The settings of the deployment.
        queries: All queries, each with its text as its value. The driver may repeat each of them.
    """

    def __init__(self, settings: Settings, queries: Iterable[Enum]) -> None:
        self._settings = settings
        self._queries = list(queries)
        self._ready: _Ready | None = None
        self._stopping = Event()
        self._thread = Thread(target=self._keep_session, name="cassandra-session", daemon=True)
        self._in_flight = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._bridge: Bridge[Rows | None] = Bridge()

    def start(self) -> None:
        """Starts to connect."""
        self._thread.start()

    async def stop(self) -> None:
        """Closes the session. Waits for the end of its thread within a bound."""
        self._stopping.set()
        await asyncio.to_thread(self._thread.join, _JOIN_SECONDS)

    def _keep_session(self) -> None:
        logged_reason = ""
        while not self._stopping.is_set():
            try:
                self._use_session()
            except _CONNECT_ERRORS as error:
                reason = _reason(error)
                if reason != logged_reason:
                    log.warning("Cassandra is not reachable yet: %s", reason)
                logged_reason = reason
                self._stopping.wait(_RECONNECT_SECONDS)

    def _use_session(self) -> None:
        with cassandra_session(self._settings) as session:
            try:
                self._ready = _prepare(session, self._settings, self._queries)
                log.info("connected to Cassandra")
                self._stopping.wait()
            finally:
                self._ready = None

    async def run(self, query: Enum, *parameters: object) -> Rows:
        """Runs a query and returns its rows.

        Raises:
            ServerUnavailable: The rows do not arrive within the timeout.
        """
        try:
            return await (await self._send(query, parameters)) or []
        except TRANSIENT_ERRORS as error:
            raise ServerUnavailable("Cassandra does not answer") from error

    async def run_all(self, query: Enum, asked: Sequence[tuple[object, ...]]) -> list[Rows]:
        """Runs a query once for each tuple of parameters and returns the rows of each run.

        At most `MAX_OF_ONE` runs are in flight at once.

        Raises:
            ServerUnavailable: The rows of a run do not arrive within the timeout.
        """
        results: list[Rows] = []
        waiting: list[asyncio.Future[Rows | None]] = []
        try:
            for at in range(0, len(asked), MAX_OF_ONE):
                waiting = []
                for parameters in asked[at : at + MAX_OF_ONE]:
                    waiting.append(await self._send(query, parameters))
                results += [rows or [] for rows in await asyncio.gather(*waiting)]
        except TRANSIENT_ERRORS as error:
            raise ServerUnavailable("Cassandra does not answer") from error
        finally:
            for each in waiting:
                each.cancel()  # after a failure, nobody awaits the other runs
        return results

    async def _send(
        self, query: Enum, parameters: tuple[object, ...]
    ) -> asyncio.Future[Rows | None]:
        """Sends one query when a place in flight is free. The place is held until the response.

        Raises:
            ServerUnavailable: There is no connection.
        """
        ready = self._ready
        if ready is None:
            raise ServerUnavailable("Cassandra is not reachable yet")
        await self._in_flight.acquire()
        waiting = self._bridge.future()
        waiting.add_done_callback(self._answered)
        try:
            response = ready.session.execute_async(
                ready.statements[query], parameters, timeout=QUERY_SECONDS
            )
        except BaseException:
            waiting.cancel()
            raise
        response.add_callbacks(
            self._bridge.succeed, self._bridge.fail, (waiting,), None, (waiting,)
        )
        return waiting

    def _answered(self, _answer: asyncio.Future[Rows | None]) -> None:
        self._in_flight.release()


def _prepare(session: Session, settings: Settings, queries: Iterable[Enum]) -> _Ready:
    use_keyspace(session, settings)
    statements = {query: session.prepare(query.value) for query in queries}
    for statement in statements.values():
        statement.is_idempotent = True
        statement.fetch_size = None  # `run` returns the whole answer; each query bounds its rows
    return _Ready(session, statements)


def _reason(error: Exception) -> str:
    if isinstance(error, InvalidRequest):
        return "its tables do not exist"
    tells = isinstance(error, ServerUnavailable | ConfigurationError | AccessRefused)
    return str(error) if tells else type(error).__name__
