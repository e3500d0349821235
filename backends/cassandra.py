"""The Cassandra tables of a deployment, and the session to reach them.

| table | answers |
|---|---|
| ``deployment`` | which deployment the keyspace belongs to: see `backends.deployment_stores` |
| ``message`` | a range of SeqIds of one conversation |
| ``conversation`` | what a conversation is now: its head SeqId, owner, rules, mode |
| ``membership_by_user`` | the conversations of a person, with their membership periods |
| ``membership_by_conversation`` | the people of a conversation, with theirs |
| ``read_mark`` | up to where somebody has read a conversation |
| ``device`` | the devices of a person, each in a slot, and by which policy each began |
| ``device_cursor`` | how far each registration of a device has come, and when it was seen |
| ``sync`` | a range of one recipient's sync timeline; expires |
| ``sync_bucket`` | which partitions of ``sync`` a recipient has at all; expires |
| ``sync_expiry`` | up to where a recipient's ``sync`` may be gone from when on; does not expire |

How large one partition can become (`schemas.limits`; `tests/unit/test_partition_sizes.py` adds it
up, ``tests/integration/test_partitions.py`` asks the server):

| table | the worst partition | at most |
|---|---|---|
| ``message`` | `MESSAGE_BUCKET` entries of `MAX_ENTRY_BYTES` | 99.3 MB |
| ``sync`` | `SYNC_BUCKET` rows of `MAX_ENTRY_BYTES` | 94.5 MB |
| ``membership_by_conversation`` | all who are named in `MEMBERSHIP_BUCKET` entries | 82.3 MB |
| ``membership_by_user`` | two rows a period, in 1/32 of a person's conversations | below |
| ``conversation``, ``deployment`` | one row | 1 KB |
| ``read_mark`` | one row | 2 KB |
| ``device`` | the devices that a person may have | 40 KB |
| ``device_cursor`` | one row; one more, for ten days, of each that was taken out | small |
| ``sync_bucket`` | a record in every bucket of a shard, for a lifetime | by the rate: below |
| ``sync_expiry`` | at most nine rows of some 50 bytes for each lifetime | 24 KB a year of weeks |

A listed bucket takes some 70 bytes for `SYNC_BUCKET` offsets of a shard. At 100,000 records/s
on 8 shards, kept for a week, that is 68 MB; who keeps more, or longer, takes more shards.

The memberships of a person lie in `USER_BUCKETS` buckets, by conversation. One conversation has
at most two rows for each of the `MAX_PERIODS` periods that count (`backends.memberships`). With
one period and the longest ids, 100 MB are 80,000 conversations in one bucket and 2,500,000 in all.
No bound refuses a join.

Membership is stored as what happened (joined or left, at a SeqId): such rows are idempotent and
may arrive in any order, where a period with an end would have to be read before it is written.
A join has the history rule beside it, so that who reads memberships knows what may be read back.
A row without one was written before there was such a rule, and means ``since_join``.

``messages`` beside a SeqId is how many messages there are up to it (`schemas.unread`); without one
nothing counts. ``read_mark`` has somebody's own last message (``own_seq``, with its count), and
up to where their devices marked it as read (``read_seq``); each ``USING TIMESTAMP`` its SeqId.

A row of ``sync`` has references (`schemas.sync_rows`): what one flush of the sink brought to one
recipient, at most 100 records and `MAX_ENTRY_BYTES` of JSON. Its key is its highest sync SeqId. A
reference takes the digits of two numbers, and each conversation in a row takes its id once. The
JSON of a reply lies in the row itself. Flushes that are repeated with other ends may leave rows
that overlap; all their keys are records of the recipient, so a bucket has at most `SYNC_BUCKET`
rows whatever is repeated. A dead letter that is replayed makes the row above it longer by one
reference. A row has all records of its recipient between the row below and its own key. So a
reader takes, of each row in turn, the references above the last one taken.

A recall overwrites ``entry`` of its message and of the edits of that by an empty text, and notes
its own SeqId in ``recalled_by``, both with the timestamp `RECALLED`, above that of any clock: a
replay, however late, does not bring the text back. ``edited_by`` of a message is the SeqId of its
last edit, and its timestamp; the text is in the row of the edit, once.

``conversation`` is written ``USING TIMESTAMP seq``: the last writer is the one with the highest
SeqId, whatever is replayed. So is ``sync_expiry``, by its ``newest``: in a slot of time that
begins at ``since`` (seconds), records up to the sync SeqId ``newest`` were written for somebody,
and all of them are there until ``until`` (seconds).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from cassandra import DriverException
from cassandra.cluster import (
    EXEC_PROFILE_DEFAULT,
    Cluster,
    ExecutionProfile,
    NoHostAvailable,
    Session,
)
from cassandra.connection import DefaultEndPoint
from cassandra.policies import (
    ConstantReconnectionPolicy,
    DCAwareRoundRobinPolicy,
    TokenAwarePolicy,
)
from cassandra.query import ConsistencyLevel, tuple_factory

from backends.table_checks import check_tables, found_tables, table_of
from schemas.errors import ConfigurationError, ServerUnavailable
from schemas.lifetime import keeping
from schemas.settings import Settings

CONNECT_SECONDS: Final = 10.0
REQUEST_SECONDS: Final = 20.0
RECONNECT_SECONDS: Final = 1.0

# Every read and write of a quorum meets every other.
_CONSISTENCY: Final = ConsistencyLevel.LOCAL_QUORUM

RECALLED: Final = 1 << 62
"""Timestamp of what a recall writes. All others are microseconds since 1970, or SeqIds."""

_TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS deployment (only int PRIMARY KEY, id text)""",
    """CREATE TABLE IF NOT EXISTS message (
        conv_id text, bucket int, seq bigint, kind text, sender text, at bigint, entry text,
        messages bigint, edited_by bigint, recalled_by bigint,
        PRIMARY KEY ((conv_id, bucket), seq)
    ) WITH compression = {{'class': 'LZ4Compressor'}}""",
    """CREATE TABLE IF NOT EXISTS conversation (
        conv_id text PRIMARY KEY, head bigint, messages bigint, owner text, join_rule text,
        mode text, history_rule text
    )""",
    """CREATE TABLE IF NOT EXISTS membership_by_user (
        user_id text, bucket int, conv_id text, place int, seq bigint, since bigint,
        joined boolean, messages bigint, history_rule text,
        PRIMARY KEY ((user_id, bucket), conv_id, place)
    )""",
    """CREATE TABLE IF NOT EXISTS membership_by_conversation (
        conv_id text, bucket int, user_id text, seq bigint, joined boolean, history_rule text,
        PRIMARY KEY ((conv_id, bucket), user_id, seq)
    )""",
    """CREATE TABLE IF NOT EXISTS read_mark (
        conv_id text, user_id text, own_seq bigint, own_messages bigint, read_seq bigint,
        PRIMARY KEY ((conv_id, user_id))
    )""",
    """CREATE TABLE IF NOT EXISTS device (
        user_id text, slot int, device_id text, registration text, policy text, show_last int,
        since bigint, cursor bigint, seen bigint,
        PRIMARY KEY ((user_id), slot)
    )""",
    """CREATE TABLE IF NOT EXISTS device_cursor (
        user_id text, registration text, cursor bigint, seen bigint,
        PRIMARY KEY ((user_id), registration)
    )""",
    """CREATE TABLE IF NOT EXISTS sync (
        user_id text, bucket bigint, sync_seq bigint, records text,
        PRIMARY KEY ((user_id, bucket), sync_seq)
    ) WITH default_time_to_live = {ttl} AND gc_grace_seconds = 3600
      AND compaction = {{'class': 'TimeWindowCompactionStrategy',
        'compaction_window_unit': 'MINUTES', 'compaction_window_size': {window_minutes}}}""",
    """CREATE TABLE IF NOT EXISTS sync_bucket (
        user_id text, bucket bigint,
        PRIMARY KEY ((user_id), bucket)
    ) WITH default_time_to_live = {ttl} AND gc_grace_seconds = 3600""",
    """CREATE TABLE IF NOT EXISTS sync_expiry (
        user_id text, since bigint, until bigint, newest bigint,
        PRIMARY KEY ((user_id), since)
    ) WITH CLUSTERING ORDER BY (since DESC)""",
)

_LATER_COLUMNS: Final = (
    "ALTER TABLE message ADD IF NOT EXISTS edited_by bigint",
    "ALTER TABLE message ADD IF NOT EXISTS recalled_by bigint",
    "ALTER TABLE conversation ADD IF NOT EXISTS history_rule text",
    "ALTER TABLE membership_by_conversation ADD IF NOT EXISTS history_rule text",
    "ALTER TABLE conversation ADD IF NOT EXISTS messages bigint",
    "ALTER TABLE message ADD IF NOT EXISTS messages bigint",
)
"""What the tables do not have that an earlier version made."""

_REMADE: Final[Sequence[str]] = ("membership_by_user", "membership_by_conversation", "read_mark")
"""The tables that had another primary key in an earlier version."""

_RECOLUMNED: Final[Sequence[str]] = ("sync",)
"""The tables that had other columns in an earlier version, with another meaning."""

_WINDOWS_IN_A_LIFETIME: Final = 14
"""TWCS drops whole windows; a dozen or two of them is what its authors advise."""


def create_tables(session: Session, settings: Settings) -> None:
    """Creates what is missing: keyspace, tables, columns. The session then uses the keyspace.

    Raises:
        ConfigurationError: A table that exists is not as the code needs it, or the keyspace has
            fewer copies than the settings say.
    """
    session.execute(
        f"CREATE KEYSPACE IF NOT EXISTS {settings.keyspace} WITH replication = "
        f"{{'class': 'NetworkTopologyStrategy', "
        f"'{settings.cassandra_datacenter}': {settings.replication}}}"
    )
    _check_copies(session, settings)
    use_keyspace(session, settings)
    ttl = keeping(settings.sync_lifetime).ttl
    window = max(1, ttl // 60 // _WINDOWS_IN_A_LIFETIME)
    statements = [table.format(ttl=ttl, window_minutes=window) for table in _TABLES]
    for statement in (*statements, *_LATER_COLUMNS):
        session.execute(statement)
    check_tables(session, settings, statements)


def _check_copies(session: Session, settings: Settings) -> None:
    """Compares the copies of a keyspace that somebody made beforehand."""
    found = session.execute(
        "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = %s",
        (settings.keyspace,),
    )
    for (replication,) in found:
        datacenter = settings.cassandra_datacenter
        copies = int(replication.get(datacenter, replication.get("replication_factor", 0)))
        if copies < settings.replication:
            raise ConfigurationError(
                f"keyspace {settings.keyspace} has {copies} copies in {datacenter},"
                f" IM_REPLICATION is {settings.replication}: ALTER KEYSPACE and repair it, see"
                " 'What a cluster needs' in docs/operating.md"
            )


def use_keyspace(session: Session, settings: Settings) -> None:
    """Has the session use the deployment's keyspace, if its tables are of this version.

    An old table would be read and written without an error, at places where nobody looks.

    Raises:
        ConfigurationError: There is a table of an earlier version, with another primary key or
            other columns.
        cassandra.InvalidRequest: There is no such keyspace.
    """
    session.set_keyspace(settings.keyspace)
    found, wanted = found_tables(session, settings), dict(map(table_of, _TABLES))
    old = [name for name in _REMADE if name in found and found[name].key != wanted[name].key]
    old += [
        name
        for name in _RECOLUMNED
        if name in found and not wanted[name].columns.keys() <= found[name].columns.keys()
    ]
    if old:
        raise ConfigurationError(
            f"keyspace {settings.keyspace} has tables of an earlier version: {', '.join(old)}."
            " They have to be made and filled anew; docs/operating.md says how"
        )


@contextmanager
def cassandra_session(settings: Settings) -> Iterator[Session]:
    """A session with rows as tuples, quorum consistency, and reconnection each second.

    A contact point that comes back with another address under its name is found again.

    Raises:
        ServerUnavailable: No contact point answers.
    """
    hosts, port = settings.cassandra_contact_points
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(
            DCAwareRoundRobinPolicy(local_dc=settings.cassandra_datacenter)
        ),
        consistency_level=_CONSISTENCY,
        request_timeout=REQUEST_SECONDS,
        row_factory=tuple_factory,
    )
    cluster = Cluster(
        # The driver resolves a plain name once. A name in an endpoint is resolved again with each
        # connection, so a node may come back with another address.
        [DefaultEndPoint(host, port) for host in hosts],
        port=port,
        protocol_version=5,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        reconnection_policy=ConstantReconnectionPolicy(RECONNECT_SECONDS, max_attempts=None),
        connect_timeout=CONNECT_SECONDS,
        compression=False,  # costs more than it saves beside the server
    )
    try:
        yield _connect(cluster, settings)
    finally:
        cluster.shutdown()


def _no_host(settings: Settings) -> ServerUnavailable:
    return ServerUnavailable(
        f"Cassandra does not answer at {settings.cassandra_hosts}, or has no node in data center "
        f"{settings.cassandra_datacenter}: start it (`im up`), or correct IM_CASSANDRA_HOSTS or "
        "IM_CASSANDRA_DATACENTER"
    )


def _connect(cluster: Cluster, settings: Settings) -> Session:
    # The driver logs a traceback for each attempt. What matters is raised.
    logger = logging.getLogger("cassandra")
    logger.setLevel(logging.CRITICAL)
    try:
        session = cluster.connect()
    except (NoHostAvailable, DriverException) as error:
        raise _no_host(settings) from error
    finally:
        logger.setLevel(logging.ERROR)
    # Rows without a timestamp of their own get the servers' time. A sink whose clock was ahead
    # would otherwise write rows that its successor cannot renew.
    session.use_client_timestamp = False
    return session
