"""The tables on a real server: the tables of an earlier version are upgraded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Final

import pytest
from cassandra.cluster import Session

from audit.real_sources import real_servers as audited
from backends.cassandra.session import cassandra_session
from backends.cassandra.tables import create_tables
from backends.kafka.clients import create_topics
from gateway.store.cassandra_store import CassandraStore
from schemas.errors import ConfigurationError, ServerUnavailable
from schemas.number_types import Milliseconds, SeqId
from schemas.records import ConversationCreated
from schemas.settings import Settings
from schemas.visibility import MembershipChange
from sinks.cassandra.messages import MessageWriter
from tests.support.gateway_rows import cassandra_store
from tests.support.processes import ROOT, environment
from tests.support.servers import Servers
from tests.support.sink_stores import on_log
from tests.support.waiting import until

pytestmark = pytest.mark.servers

SECONDS: Final = 180.0

BEFORE_THE_HISTORY_RULE: Final = (
    """CREATE TABLE conversation (
        conv_id text PRIMARY KEY, head bigint, owner text, join_rule text, mode text
    )""",
    "INSERT INTO conversation (conv_id, head, owner, mode) VALUES ('old', 4, 'bob', 'push')",
)

OF_ANOTHER_SHAPE: Final = {
    "membership_by_conversation": """CREATE TABLE membership_by_conversation (
        conv_id text, bucket int, user_id text, seq bigint, joined boolean,
        PRIMARY KEY ((conv_id, bucket), user_id, seq)
    )""",
    "membership_by_user": """CREATE TABLE membership_by_user (
        user_id text, conv_id text, seq bigint, joined boolean, messages bigint,
        history_rule text,
        PRIMARY KEY ((user_id), conv_id, seq)
    )""",
    "read_mark": """CREATE TABLE read_mark (
        conv_id text, user_id text, own_seq bigint, own_messages bigint, read_seq bigint,
        PRIMARY KEY ((conv_id), user_id)
    )""",
    "sync": """CREATE TABLE sync (
        user_id text, bucket bigint, sync_seq bigint, conv_id text, seq bigint, record text,
        PRIMARY KEY ((user_id, bucket), sync_seq)
    )""",
}
"""Tables of earlier versions, by name."""


@pytest.fixture
def earlier(servers: Servers) -> Iterator[tuple[Session, Settings]]:
    """The keyspace that an earlier version left, without its tables."""
    settings = servers.settings(partitions=1, sync_partitions=1)
    with cassandra_session(settings) as session:
        session.execute(
            f"CREATE KEYSPACE {settings.keyspace} WITH replication = "
            f"{{'class': 'NetworkTopologyStrategy', '{settings.cassandra_datacenter}': 1}}"
        )
        session.set_keyspace(settings.keyspace)
        yield session, settings
        session.execute(f"DROP KEYSPACE {settings.keyspace}", timeout=60)


def replicas(session: Session, settings: Settings) -> list[str]:
    """The addresses of the nodes that have a row, as the routing of the driver computes them."""
    found = session.cluster.metadata.get_replicas(settings.keyspace, b"key")
    return [host.address for host in found]


def test_a_session_knows_its_own_keyspace_alone(servers: Servers) -> None:
    """Each session routes by the replicas of its rows, and reads no schema of other keyspaces.

    So do the session that creates the keyspace, and one that begins later.
    """
    settings = servers.settings()
    node = settings.cassandra_contact_points[0][0]
    with cassandra_session(settings) as creator:
        assert replicas(creator, settings) == []
        create_tables(creator, settings)
        assert replicas(creator, settings) == [node]
        with cassandra_session(settings) as later:
            assert replicas(later, settings) == [node]
            assert set(later.cluster.metadata.keyspaces) == {settings.keyspace}
        creator.execute(f"DROP KEYSPACE {settings.keyspace}", timeout=60)


async def test_tables_without_a_history_rule_receive_the_column(
    earlier: tuple[Session, Settings],
) -> None:
    """Tables without a history rule get one; old rows open nothing, new rows have their rule.

    A repetition, as at each start, changes nothing.
    """
    session, settings = earlier
    for statement in BEFORE_THE_HISTORY_RULE:
        session.execute(statement)
    for _ in range(2):
        create_tables(session, settings)
    created = ConversationCreated(
        conv_id="new",
        seq=SeqId(1),
        sender="a",
        client_msg_id="i",
        at=Milliseconds(1),
        members=["a"],
        join="invite",
        mode="push",
        history="all",
    )
    assert not MessageWriter(session).write([on_log(created, 0)]).poison

    async with cassandra_store(settings) as store:
        assert await store.all_changes("a") == {
            "new": [MembershipChange(SeqId(1), joined=True, history="all", at=Milliseconds(1))]
        }
        assert await store.conversation("old") is not None
    rules = session.execute("SELECT conv_id, history_rule FROM conversation")
    assert dict(rules) == {"old": None, "new": "all"}


@pytest.mark.parametrize("old", OF_ANOTHER_SHAPE)
async def test_a_table_with_other_columns_or_key_is_named(
    earlier: tuple[Session, Settings], old: str, caplog: pytest.LogCaptureFixture
) -> None:
    """`im prepare` and the audit refuse a table of an earlier shape, and name it.

    The gateway responds with an error, and logs the reason, until the table is created again.
    """
    session, settings = earlier
    session.execute(OF_ANOTHER_SHAPE[old])
    says = f"earlier version: {old}. "

    with pytest.raises(ConfigurationError, match=says):
        create_tables(session, settings)
    with (
        pytest.raises(ConfigurationError, match=says),
        audited(settings, advance=lambda _check, _number: None, wait_seconds=0),
    ):
        raise AssertionError("it was entered")
    store = CassandraStore(settings)
    store.start()
    try:
        await until(lambda: is_told(caplog, says), SECONDS)
        with pytest.raises(ServerUnavailable):
            await store.read_mark("c", "a")
        session.execute(f"DROP TABLE {old}")
        create_tables(session, settings)
        await until(store.reachable, SECONDS)
        assert await store.all_changes("a") == {}
    finally:
        await store.stop()


async def is_told(caplog: pytest.LogCaptureFixture, words: str) -> bool:
    """Whether a log line contains these words."""
    return any(words in record.getMessage() for record in caplog.records)


def test_a_sink_ends_at_a_table_with_another_key(earlier: tuple[Session, Settings]) -> None:
    """A sink ends at an earlier table with a line that names it, before it reads a record."""
    session, settings = earlier
    create_topics(settings)
    session.execute(OF_ANOTHER_SHAPE["read_mark"])
    for stage in ("message", "sync"):
        ended = subprocess.run(
            [sys.executable, "-m", "sinks", stage], cwd=ROOT, env=environment(settings),
            stderr=subprocess.PIPE, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        assert ended.returncode == ConfigurationError.exit_code
        assert "earlier version: read_mark. " in ended.stderr


@pytest.mark.parametrize(
    ("statement", "phrase"),
    [
        (("CREATE TABLE device_cursor (user_id text, registration text, cursor int, seen bigint,"
         " PRIMARY KEY ((user_id), registration))"), r"device_cursor has column cursor int"),
        (("CREATE TABLE sync_expiry (user_id text, since bigint, until bigint, newest bigint,"
         " PRIMARY KEY ((user_id), since))"), r"sync_expiry has the key user_id since asc"),
        ("CREATE TABLE sync_bucket (user_id text, PRIMARY KEY ((user_id)))",
         r"sync_bucket has no column bucket bigint"),
        ("CREATE TABLE deployment (only int PRIMARY KEY, id text) WITH default_time_to_live = 60",
         r"deployment has default_time_to_live \(needs 0\)"),
        (("CREATE TABLE sync (user_id text, bucket bigint, sync_seq bigint, records text,"
         " PRIMARY KEY ((user_id, bucket), sync_seq))"),
         r"sync has compaction \w+ \(needs TimeWindowCompactionStrategy\)"),
    ],
    ids=["type", "order", "column", "expiry", "compaction"],
)  # fmt: skip
def test_a_table_created_by_hand_with_other_settings_is_refused(
    earlier: tuple[Session, Settings], statement: str, phrase: str
) -> None:
    """`create_tables` refuses a table with another schema.

    One line names the table, the difference and what is needed.
    """
    session, settings = earlier
    session.execute(statement)
    with pytest.raises(ConfigurationError, match=phrase) as refused:
        create_tables(session, settings)
    assert "\n" not in str(refused.value)
