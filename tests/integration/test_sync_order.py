"""A sync timeline is stored in the order of its sync SeqIds, whatever fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cassandra import OperationTimedOut
from cassandra.cluster import Session

from backends.cassandra import cassandra_session, create_tables
from schemas.codec import encode
from schemas.limits import SYNC_BUCKET
from schemas.records import MessageSent, TextContent
from schemas.settings import Settings
from sinks.base.records import Record
from sinks.cassandra.requests import MAX_ROWS
from sinks.cassandra.sync import SyncWriter
from tests.conftest import Servers

pytestmark = pytest.mark.servers

ROWS = 3 * MAX_ROWS
FIRST_OFFSET = SYNC_BUCKET - MAX_ROWS
"""So that the rows of one recipient lie in two buckets, and need several requests."""


class Lost:
    """The answer to a request that did not arrive."""

    def add_callbacks(
        self, _ok: object, failed: Callable[..., None], errback_args: tuple[Any, ...]
    ) -> None:
        failed(OperationTimedOut(), *errback_args)


class LosesOne:
    """A session that loses one request: the first one of rows for somebody.

    Args:
        session: A real one.
        user: Whose.
    """

    def __init__(self, session: Session, user: bytes) -> None:
        self._session = session
        self._user = user
        self.is_lost = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def execute_async(self, statement: Any) -> Any:
        rows = getattr(statement, "_statements_and_parameters", [])
        if rows and not self.is_lost and self._user in rows[0][2]:
            self.is_lost = True
            return Lost()
        return self._session.execute_async(statement)


@pytest.fixture
def session(servers: Servers) -> Iterator[tuple[Session, Settings]]:
    """Tables of our own."""
    settings = servers.settings()
    with cassandra_session(settings) as session:
        create_tables(session, settings)
        yield session, settings
        session.execute(f"DROP KEYSPACE {settings.keyspace}", timeout=60)


def record(offset: int, user: bytes) -> Record:
    """A message to one recipient."""
    entry = MessageSent(
        conv_id="c", seq=offset, sender="ann", client_msg_id="i", at=1,
        content=TextContent(text="hi"), mentions=[],
    )  # fmt: skip
    return Record(0, offset, user, encode(entry))


def stored(session: Session, user: str) -> list[int]:
    """The sync SeqIds that can be read, in order."""
    found: list[int] = []
    for bucket in (0, 1):
        rows = session.execute(
            "SELECT sync_seq FROM sync WHERE user_id = %s AND bucket = %s", (user, bucket)
        )
        found += [sync_seq for (sync_seq,) in rows]
    return found


def test_nothing_is_stored_above_what_is_not(session: tuple[Session, Settings]) -> None:
    """When a request of a recipient is lost, their later ones wait for it; others go on."""
    real, settings = session
    losing = LosesOne(real, b"ann")
    batch = [record(FIRST_OFFSET + n, (b"ann", b"bob")[n % 2]) for n in range(2 * ROWS)]
    writer = SyncWriter(losing, settings)

    outcome = writer.write(batch)

    assert losing.is_lost
    assert stored(real, "ann") == []
    assert [batch[place].key for place in outcome.again] == [b"ann"] * ROWS
    assert stored(real, "bob") == [r.offset for r in batch if r.key == b"bob"]

    again = writer.write([batch[place] for place in outcome.again])

    assert not again.again
    assert stored(real, "ann") == [r.offset for r in batch if r.key == b"ann"]
