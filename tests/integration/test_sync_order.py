"""A sync timeline is stored in the order of its sync SeqIds, whatever fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cassandra import OperationTimedOut
from cassandra.cluster import Session

from backends.cassandra.session import cassandra_session
from backends.cassandra.tables import create_tables
from schemas.codec import encode
from schemas.errors import TransientFailure
from schemas.limits import SYNC_BUCKET
from schemas.number_types import Milliseconds, Offset, SeqId
from schemas.records import MessageSent, TextContent
from schemas.settings import Settings
from sinks.base.records import Record
from sinks.cassandra.sync_late import LateSyncWriter
from sinks.cassandra.sync_parts import MAX_REFERENCES
from sinks.cassandra.sync_writer import SyncWriter
from tests.conftest import Servers
from tests.support.sink_store_sync import rows_of
from tests.support.sync_rows import taken

pytestmark = pytest.mark.servers

RECORDS = 3 * MAX_REFERENCES
FIRST_OFFSET = SYNC_BUCKET - MAX_REFERENCES
"""The rows of one recipient are in two buckets, and need several requests."""


class Lost:
    """The future of a request whose response did not arrive."""

    def add_callbacks(
        self, _ok: object, failed: Callable[..., None], errback_args: tuple[Any, ...]
    ) -> None:
        failed(OperationTimedOut(), *errback_args)


class LosesOne:
    """A session that loses one request: the first one with rows of a certain person.

    Args:
        session: A real session.
        user: The person.
    """

    def __init__(self, session: Session, user: bytes) -> None:
        self._session = session
        self._user = user
        self.is_lost = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def execute_async(self, statement: Any) -> Any:
        rows = getattr(statement, "_statements_and_parameters", [])
        if not self.is_lost and any(values[0] == self._user for _, _, values in rows):
            self.is_lost = True
            return Lost()
        return self._session.execute_async(statement)


@pytest.fixture
def session(servers: Servers) -> Iterator[tuple[Session, Settings]]:
    """Tables in a separate keyspace."""
    settings = servers.settings()
    with cassandra_session(settings) as session:
        create_tables(session, settings)
        yield session, settings
        session.execute(f"DROP KEYSPACE {settings.keyspace}", timeout=60)


def record(offset: int, user: bytes) -> Record:
    """A message to one recipient."""
    entry = MessageSent(
        conv_id="c", seq=SeqId(offset), sender="ann", client_msg_id="i", at=Milliseconds(1),
        content=TextContent(text="hi"), mentions=[],
    )  # fmt: skip
    return Record(0, Offset(offset), user, encode(entry))


def stored(session: Session, user: str) -> list[int]:
    """The sync SeqIds that a reader gets, in order."""
    rows = rows_of(session, user, 0) | rows_of(session, user, 1)
    return [reference.sync_seq for reference in taken(rows)]


def test_no_sync_row_is_stored_above_a_missing_one(session: tuple[Session, Settings]) -> None:
    """When a request for a recipient is lost, no later record of the recipient is stored.

    When the same records are written again, a reader gets all of them.
    """
    real, settings = session
    losing = LosesOne(real, b"ann")
    batch = [record(FIRST_OFFSET + n, (b"ann", b"ann\nbob")[n % 2]) for n in range(RECORDS)]
    writer = SyncWriter(losing, settings)

    with pytest.raises(TransientFailure):
        writer.write(batch)

    assert losing.is_lost
    assert stored(real, "ann") == []

    assert not writer.write(batch).poison

    assert stored(real, "ann") == [each.offset for each in batch]
    assert stored(real, "bob") == [each.offset for each in batch[1::2]]


def test_a_late_record_joins_the_row_above(session: tuple[Session, Settings]) -> None:
    """A replayed dead letter, once or twice, is read in its order and hides no other record."""
    real, settings = session
    writer = SyncWriter(real, settings)
    batch = [record(offset, b"ann\nbob") for offset in (3, 4, 5, 6)]
    unknown = Record(0, Offset(4), b"ann\nbob", b'{"kind":"new","conv_id":"c","seq":4}')
    assert [found.index for found in writer.write([batch[0], unknown, batch[2]]).poison] == [1]
    late = LateSyncWriter(writer)
    for _ in range(2):
        assert not late.write([batch[1]]).poison
        assert stored(real, "ann") == stored(real, "bob") == [3, 4, 5]
        assert list(rows_of(real, "ann", 0)) == [5]
    assert not late.write([batch[3]]).poison
    assert stored(real, "ann") == [3, 4, 5, 6]
