"""Requests of the sync sink that are built before they are sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from cassandra.cluster import Session
from cassandra.query import PreparedStatement, Statement


class BuiltRequest(NamedTuple):
    """A request that was built beforehand."""

    built: Statement

    def statement(self) -> Statement:
        """The statement for the driver."""
        return self.built


class Recorder:
    """A session that stores statements instead of sending them.

    Attributes:
        requests: The stored statements, in their order.
        prepared: The prepared statements, in their order.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.requests: list[BuiltRequest] = []
        self.prepared: list[PreparedStatement] = []

    def prepare(self, statement: str) -> PreparedStatement:
        """Prepares a statement on the server."""
        prepared = self._session.prepare(statement)
        self.prepared.append(prepared)
        return prepared

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def execute_async(self, statement: Statement) -> Recorder:
        """Stores a statement; the session is also the statement's future."""
        self.requests.append(BuiltRequest(statement))
        return self

    def add_callbacks(
        self, success: Callable[[object], None], _failure: object, **_args: object
    ) -> None:
        """Reports success at once."""
        success(None)
