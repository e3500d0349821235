"""The Cassandra tables of a deployment.

| table | content |
|---|---|
| ``deployment`` | the id of the deployment that owns the keyspace: `store_claim` |
| ``message`` | the entries of a conversation, by SeqId |
| ``conversation`` | the current state of a conversation: head, owner, rules, mode, name, … |
| ``membership_by_user`` | the conversations of a person, with the person's membership periods |
| ``membership_by_conversation`` | who is or was a member of a conversation, by the last change |
| ``read_mark`` | the read mark and the mute of a person in a conversation |
| ``device`` | the devices of a person, each in a slot, with the policy of its registration |
| ``device_cursor`` | the cursor of each registration of a device, and when it was last seen |
| ``sync`` | the sync timeline of a recipient, by sync SeqId; expires |
| ``sync_bucket`` | the partitions of ``sync`` that a recipient has; expires |
| ``sync_expiry`` | which records of a recipient may have expired, and when; does not expire |

Maximum size of one partition (`schemas.limits`). `tests/unit/backends/test_partition_sizes.py`
computes the sizes, ``tests/integration/test_partitions.py`` reads them from the server:

| table | the worst partition | at most |
|---|---|---|
| ``message`` | `MESSAGE_BUCKET` entries of `MAX_ENTRY_BYTES` | 99.3 MB |
| ``sync`` | `SYNC_BUCKET` rows of `MAX_ENTRY_BYTES` | 94.5 MB |
| ``membership_by_conversation`` | 1/16 of all people who ever were members | below |
| ``membership_by_user`` | two rows a period, in 1/32 of a person's conversations | below |
| ``conversation`` | one row, with name and metadata | 6 KB |
| ``deployment`` | one row | 1 KB |
| ``read_mark`` | one row | 2 KB |
| ``device`` | the devices that a person may have | 40 KB |
| ``device_cursor`` | one row; for ten days one more for each removed registration | small |
| ``sync_bucket`` | a record in every bucket of a shard, for a lifetime | by the rate: below |
| ``sync_expiry`` | at most nine rows of some 50 bytes for each lifetime | 24 KB a year of weeks |

A row of ``sync_bucket`` has some 70 bytes, and covers `SYNC_BUCKET` offsets of a shard. At
100,000 records/s on 8 shards with a retention of a week, that is 68 MB. More records, or a longer
retention, need more shards.

The memberships of a person are in `USER_BUCKETS` buckets, by conversation. One conversation has
at most two rows for each of the `MAX_PERIODS` periods that count
(`backends.cassandra.memberships`). With one period and the longest ids, 100 MB hold 80,000
conversations in one bucket, 2,500,000 in all. No bound refuses a join.

The members of a conversation are in `MEMBER_BUCKETS` buckets, by person, with one row for each
person (written ``USING TIMESTAMP seq``). With the longest ids, 100 MB hold 120,000 people in one
bucket, 1,920,000 in all.

Membership is stored as events (joined or left, at a SeqId). Such rows are idempotent and may
arrive in any order; a period with an end would need a read before each write. The row of a join
has the history rule, so that a reader of memberships knows which SeqIds are readable. A row
without a history rule was written by an early version and means ``since_join``.

``messages`` in a row is the number of messages up to the SeqId of the row (`schemas.unread`);
a row without it counts none. ``read_mark`` has a person's own last message (``own_seq``, with its
count) and the SeqId that the person's devices marked as read (``read_seq``). The SeqId is the
timestamp of each of the two. ``muted_until`` is the end of the person's mute in milliseconds since
1970; the sync SeqId of the mute and `FIRST_MUTE_TIMESTAMP` are its timestamp.

A row of ``sync`` has references (`schemas.sync_rows`): the records that one flush of the sink
wrote for one recipient, at most 100 records and `MAX_ENTRY_BYTES` of JSON. The row's key is its
highest sync SeqId. A reference is two numbers in decimal digits; the id of a conversation is in
the row once. A reply has no row elsewhere, so the row contains the reply as JSON. After a restart,
a flush may end at another record, so rows may overlap. Each key is the sync SeqId of a record of
the recipient, so a bucket has at most `SYNC_BUCKET` rows after any number of restarts. The replay
of a dead letter adds one reference to the row above its sync SeqId. Row k has
every record of its recipient above the key of the row before it, up to k. Rows may overlap: a
reader skips references that it has read already.

A recall overwrites ``entry`` of the message and of the message's edits by an empty text, and
writes its own SeqId into ``recalled_by``. Both have the timestamp `RECALL_TIMESTAMP`, which is
above the time of any clock, so no later replay restores the text. ``edited_by`` of a message is
the SeqId of its last edit, which is also the timestamp; only the row of the edit has the text.

``conversation`` is written ``USING TIMESTAMP seq``: the row with the highest SeqId wins, in any
order of replays. ``sync_expiry`` is written the same way, by ``newest``. A row of ``sync_expiry``
states: in the retention interval that begins at ``since`` (seconds), records up to the sync SeqId
``newest`` were written for the person, and all of them are stored until ``until`` (seconds).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from cassandra.cluster import Session

from backends.cassandra.session import read_replication
from backends.cassandra.table_checks import Table, check_tables, found_tables, table_of
from schemas.errors import ConfigurationError
from schemas.lifetime import retention_times
from schemas.settings import Settings

RECALL_TIMESTAMP: Final = 1 << 62
"""Timestamp of a recall's writes. All other timestamps are microseconds since 1970, or SeqIds."""

FIRST_MUTE_TIMESTAMP: Final = 1
"""Timestamp of a mute with the sync SeqId 0; others add their sync SeqId. A timestamp must be
above 0."""

_TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS deployment (only int PRIMARY KEY, id text)""",
    """CREATE TABLE IF NOT EXISTS message (
        conv_id text, bucket int, seq bigint, kind text, sender text, at bigint, entry text,
        messages bigint, edited_by bigint, recalled_by bigint,
        PRIMARY KEY ((conv_id, bucket), seq)
    ) WITH compression = {{'class': 'LZ4Compressor'}}""",
    """CREATE TABLE IF NOT EXISTS conversation (
        conv_id text PRIMARY KEY, head bigint, messages bigint, owner text, join_rule text,
        mode text, history_rule text, at bigint, member_count bigint, name text, metadata text
    )""",
    """CREATE TABLE IF NOT EXISTS membership_by_user (
        user_id text, bucket int, conv_id text, place int, seq bigint, since bigint,
        joined boolean, messages bigint, history_rule text, at bigint,
        PRIMARY KEY ((user_id, bucket), conv_id, place)
    )""",
    """CREATE TABLE IF NOT EXISTS membership_by_conversation (
        conv_id text, bucket int, user_id text, seq bigint, joined boolean, history_rule text,
        at bigint,
        PRIMARY KEY ((conv_id, bucket), user_id)
    )""",
    """CREATE TABLE IF NOT EXISTS read_mark (
        conv_id text, user_id text, own_seq bigint, own_messages bigint, read_seq bigint,
        muted_until bigint,
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
    ("message", "edited_by", "bigint"),
    ("message", "recalled_by", "bigint"),
    ("conversation", "history_rule", "text"),
    ("conversation", "messages", "bigint"),
    ("message", "messages", "bigint"),
    ("conversation", "at", "bigint"),
    ("conversation", "member_count", "bigint"),
    ("conversation", "name", "text"),
    ("conversation", "metadata", "text"),
    ("membership_by_user", "at", "bigint"),
    ("read_mark", "muted_until", "bigint"),
)
"""Table, name and type of the columns that tables of earlier versions lack."""

_REMADE: Final[Sequence[str]] = ("membership_by_user", "membership_by_conversation", "read_mark")
"""The tables that had another primary key in an earlier version."""

_RECOLUMNED: Final[Sequence[str]] = ("sync",)
"""The tables that had other columns in an earlier version, with another meaning."""

_WINDOWS_IN_A_LIFETIME: Final = 14
"""TWCS drops whole windows; its authors advise one to two dozen windows."""


def create_tables(session: Session, settings: Settings) -> None:
    """Creates the missing keyspace, tables and columns. The session then uses the keyspace.

    If nothing is missing, the role of the session needs no permission to create anything.

    Raises:
        ConfigurationError: An existing table differs from what the code needs, or the keyspace
            has fewer copies than the settings require.
    """
    if not _has_keyspace(session, settings):
        session.execute(keyspace_statement(settings))
        read_replication(session, settings)
    _check_copies(session, settings)
    use_keyspace(session, settings)
    ttl = retention_times(settings.sync_lifetime).ttl
    window = max(1, ttl // 60 // _WINDOWS_IN_A_LIFETIME)
    statements = [table.format(ttl=ttl, window_minutes=window) for table in _TABLES]
    found = found_tables(session, settings)
    for statement in _missing(found, statements):
        session.execute(statement)
    check_tables(session, settings, statements)


def keyspace_statement(settings: Settings) -> str:
    """The statement that creates the keyspace of a deployment, unless it exists."""
    return (
        f"CREATE KEYSPACE IF NOT EXISTS {settings.keyspace} WITH replication = "
        f"{{'class': 'NetworkTopologyStrategy', "
        f"'{settings.cassandra_datacenter}': {settings.replication}}}"
    )


def _has_keyspace(session: Session, settings: Settings) -> bool:
    found = session.execute(
        "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = %s",
        (settings.keyspace,),
    )
    return bool(list(found))


def _missing(found: Mapping[str, Table], statements: Sequence[str]) -> Iterator[str]:
    """The statements for missing tables and columns. Other processes may run them as well."""
    for statement in statements:
        if table_of(statement)[0] not in found:
            yield statement
    for table, column, of_type in _LATER_COLUMNS:
        if table in found and column not in found[table].columns:
            yield f"ALTER TABLE {table} ADD IF NOT EXISTS {column} {of_type}"


def _check_copies(session: Session, settings: Settings) -> None:
    """Compares the replication of a keyspace that existed before with the settings."""
    keyspaces = session.execute(
        "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = %s",
        (settings.keyspace,),
    )
    for (replication,) in keyspaces:
        datacenter = settings.cassandra_datacenter
        copies = int(replication.get(datacenter, replication.get("replication_factor", 0)))
        if copies < settings.replication:
            raise ConfigurationError(
                f"keyspace {settings.keyspace} has {copies} copies in {datacenter},"
                f" IM_REPLICATION is {settings.replication}: ALTER KEYSPACE and repair it, see"
                " 'Requirements of a cluster' in docs/operating.md"
            )


def use_keyspace(session: Session, settings: Settings) -> None:
    """Makes the session use the deployment's keyspace, if the tables are of this version.

    Queries on an old table would raise no error, but would use keys that no reader uses.

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
