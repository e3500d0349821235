"""The common part of the writers to Cassandra."""

from __future__ import annotations

from cassandra.cluster import Session

from backends.cassandra.session import session_trouble


class CassandraWriter:
    """A writer with a session.

    Args:
        session: A session in the keyspace of the deployment.
    """

    def __init__(self, session: Session) -> None:
        self.session = session

    def not_reachable(self) -> str | None:
        """See `sinks.base.writer_port.CheckedWriter`."""
        return session_trouble(self.session)
