"""The size of the worst rows of each growing table in the real Cassandra."""

from __future__ import annotations

import itertools
import math
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import pytest
from cassandra.cluster import Session
from msgspec import structs

from backends.cassandra.memberships import member_bucket
from backends.cassandra.session import cassandra_session
from backends.cassandra.tables import create_tables
from schemas.codec import encode
from schemas.limits import (
    MAX_ENTRY_BYTES,
    MESSAGE_BUCKET,
    PARTITION_BYTES,
    SYNC_BUCKET,
)
from schemas.number_types import Milliseconds, Offset, SeqId
from schemas.records import (
    MAX_ID_LENGTH,
    AnyEntry,
    Duplicate,
    MembersAdded,
    MessageSent,
    ReadMarked,
    TextContent,
)
from schemas.settings import Settings
from sinks.base.records import Record
from sinks.cassandra.messages import MessageWriter
from sinks.cassandra.sync_writer import SyncWriter
from tests.support.servers import Servers

pytestmark = pytest.mark.servers

STEP: Final = 12_108_970
"""The server reports sizes in steps of 20 %, in whole MiB; this is the end of one step. The test
writes the share of a bucket that must not be larger than this step. So the test notices a growth
of a few percent.
"""

BATCH: Final = 250
MEMBERS_BATCH: Final = 25
MEMBERS_IN_A_BUCKET: Final = 120_000
"""People with the longest ids for which a bucket has room."""

WIDE: Final = "\U0001f600" * MAX_ID_LENGTH
AT: Final = 1_700_000_000_000
MIB: Final = 1 << 20
FLUSHED_SECONDS: Final = 180.0


@pytest.fixture(scope="module")
def deployment(servers: Servers) -> Iterator[tuple[Session, Settings]]:
    """Tables for this module."""
    settings = servers.settings()
    with cassandra_session(settings) as session:
        create_tables(session, settings)
        try:
            yield session, settings
        finally:
            session.execute(f"DROP KEYSPACE {settings.keyspace}", timeout=60)


def largest_mib(session: Session, settings: Settings, table: str) -> int:
    """The largest partition of a table on the server's disk, rounded up to whole MiB."""
    row = session.execute(
        "SELECT mebibytes FROM system_views.max_partition_size "
        "WHERE keyspace_name = %s AND table_name = %s",
        (settings.keyspace, table),
    ).one()
    return 0 if row is None else int(row[0])


def await_size(session: Session, settings: Settings, table: str, payload: int) -> int:
    """Flushes all rows to the disk, where the server knows their size, and returns the size.

    Compaction merges these rows with files that the server flushed earlier.
    """
    session.execute(
        f"ALTER TABLE {table} WITH memtable_flush_period_in_ms = 1000 AND compaction ="
        " {'class': 'SizeTieredCompactionStrategy', 'min_threshold': 2}"
    )
    deadline = time.monotonic() + FLUSHED_SECONDS
    while (size := largest_mib(session, settings, table)) * MIB < payload:
        assert time.monotonic() < deadline, f"{table}: {size} MiB of {payload} bytes on disk"
        time.sleep(0.5)
    return size


def longest(seq: int) -> MessageSent:
    """A message whose entry has the maximum number of bytes, with text that does not repeat."""
    made = MessageSent(
        conv_id=WIDE,
        seq=SeqId(seq),
        sender=WIDE,
        client_msg_id="x" * 36,
        at=Milliseconds(AT),
        mentions=[],
        content=TextContent(text=""),
    )
    text = secrets.token_hex(MAX_ENTRY_BYTES)[: MAX_ENTRY_BYTES - len(encode(made))]
    return structs.replace(made, content=TextContent(text=text))


def on_log(entries: Iterable[AnyEntry]) -> list[Record]:
    """Entries as records for the sinks; the offset of each record is its SeqId."""
    return [Record(0, Offset(entry.seq), WIDE.encode(), encode(entry)) for entry in entries]


def share(bucket: int) -> int:
    """The number of places of a bucket to write."""
    return bucket * STEP // PARTITION_BYTES


def batches(count: int, size: int = BATCH) -> Iterator[range]:
    """SeqIds from 1 to ``count``."""
    return (range(first, min(first + size, count + 1)) for first in range(1, count + 1, size))


def write_messages(session: Session, settings: Settings) -> int:
    """Writes the first share of a bucket, in batches. Returns the bytes of the entries."""
    del settings
    writer, count = MessageWriter(session), share(MESSAGE_BUCKET)
    for seqs in batches(count):
        writer.write(on_log(map(longest, seqs)))
    return count * MAX_ENTRY_BYTES


def write_sync(session: Session, settings: Settings) -> int:
    """Writes the longest rows at each offset of a share of a bucket: replies to one recipient."""
    writer, count = SyncWriter(session, settings), share(SYNC_BUCKET)
    for offsets in batches(count):
        records = [Record(0, Offset(at), WIDE.encode(), longest_reply(at)) for at in offsets]
        assert not writer.write(records).poison
    return count * (MAX_ENTRY_BYTES - 300)


def longest_reply(seq: int) -> bytes:
    """A reply that makes a row of the maximum length, with text that does not repeat."""
    room = MAX_ENTRY_BYTES - 300 - len(WIDE.encode())
    return encode(
        Duplicate(
            conv_id=WIDE, sender="a", device_id=secrets.token_hex(room)[:room], client_msg_id="i",
            at=Milliseconds(AT), seq=SeqId(seq),
        )
    )  # fmt: skip


def write_members(session: Session, settings: Settings) -> int:
    """Writes people of one bucket with the longest ids, each with a row."""
    del settings
    writer, count = MessageWriter(session), share(MEMBERS_IN_A_BUCKET)
    everybody = (f"{WIDE[:-7]}{number:07}" for number in itertools.count())
    names = (user for user in everybody if member_bucket(user) == 0)

    def entry(seq: int) -> MembersAdded:
        return MembersAdded(
            conv_id=WIDE,
            seq=SeqId(seq),
            sender=WIDE,
            client_msg_id="x" * 36,
            at=Milliseconds(AT),
            members=list(itertools.islice(names, MEMBERS_BATCH)),
            mode="pull",
        )

    for seqs in batches(count // MEMBERS_BATCH):
        writer.write(on_log(map(entry, seqs)))
    return count * 512


def test_each_read_mark_has_its_own_partition(deployment: tuple[Session, Settings]) -> None:
    """Each read mark is a separate partition, so many readers or senders share no partition."""
    session, settings = deployment
    said = [
        MessageSent(
            conv_id="c",
            seq=SeqId(seq),
            sender=f"user {seq}",
            client_msg_id="i",
            at=Milliseconds(AT),
            mentions=[],
            content=TextContent(text=""),
        )
        for seq in range(1, 50)
    ]
    marked = [
        ReadMarked(
            conv_id="c",
            sender=each.sender,
            device_id="d",
            client_msg_id="i",
            at=Milliseconds(AT),
            seq=each.seq,
        )
        for each in said
    ]
    MessageWriter(session).write(on_log(said))
    records = [Record(0, Offset(each.seq), each.sender.encode(), encode(each)) for each in marked]
    SyncWriter(session, settings).write(records)
    partitions = session.execute("SELECT DISTINCT conv_id, user_id FROM read_mark")
    assert sorted(partitions) == sorted((each.conv_id, each.sender) for each in said)
    rows = session.execute("SELECT user_id, own_seq, read_seq FROM read_mark")
    assert sorted(rows) == sorted((each.sender, each.seq, each.seq) for each in said)


@pytest.mark.parametrize(
    ("table", "write"),
    [
        ("message", write_messages),
        ("sync", write_sync),
        ("membership_by_conversation", write_members),
    ],
)
def test_the_worst_rows_of_a_bucket_stay_below_the_bound(
    deployment: tuple[Session, Settings], table: str, write: Callable[[Session, Settings], int]
) -> None:
    """A share of the worst partition is not larger than the same share of the bound."""
    session, settings = deployment
    payload = write(session, settings)
    size = await_size(session, settings, table, payload)
    assert size <= math.ceil(STEP / MIB), f"{size} MiB for {payload / MIB:.1f} MiB of payload"
