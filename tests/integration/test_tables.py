"""The tables on a real server: what an earlier version made is brought up to now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
from cassandra.cluster import Session

from backends.cassandra import cassandra_session, create_tables
from gateway.store import Change
from schemas.records import ConversationCreated
from schemas.settings import Settings
from sinks.cassandra.messages import MessageWriter
from tests.support.gateway_rows import cassandra_store
from tests.support.servers import Servers
from tests.support.sink_stores import on_log

pytestmark = pytest.mark.servers

BEFORE_THE_HISTORY_RULE: Final = (
    """CREATE TABLE conversation (
        conv_id text PRIMARY KEY, head bigint, owner text, join_rule text, mode text
    )""",
    """CREATE TABLE membership_by_user (
        user_id text, conv_id text, seq bigint, joined boolean,
        PRIMARY KEY ((user_id), conv_id, seq)
    )""",
    """CREATE TABLE membership_by_conversation (
        conv_id text, bucket int, user_id text, seq bigint, joined boolean,
        PRIMARY KEY ((conv_id, bucket), user_id, seq)
    )""",
    "INSERT INTO membership_by_user (user_id, conv_id, seq, joined) VALUES ('a', 'old', 3, true)",
    "INSERT INTO conversation (conv_id, head, owner, mode) VALUES ('old', 4, 'bob', 'push')",
)


@pytest.fixture
def earlier(servers: Servers) -> Iterator[tuple[Session, Settings]]:
    """A deployment that an earlier version has left, with a conversation in it."""
    settings = servers.settings()
    with cassandra_session(settings) as session:
        session.execute(
            f"CREATE KEYSPACE {settings.keyspace} WITH replication = "
            f"{{'class': 'NetworkTopologyStrategy', '{settings.cassandra_datacenter}': 1}}"
        )
        session.set_keyspace(settings.keyspace)
        for statement in BEFORE_THE_HISTORY_RULE:
            session.execute(statement)
        yield session, settings
        session.execute(f"DROP KEYSPACE {settings.keyspace}", timeout=60)


async def test_tables_without_a_history_rule_get_one(earlier: tuple[Session, Settings]) -> None:
    """What lies in them stays and opens nothing; what is written from now on has its rule.

    And to do it again, as each start does, changes nothing.
    """
    session, settings = earlier
    for _ in range(2):
        create_tables(session, settings)
    created = ConversationCreated(
        conv_id="new", seq=1, sender="a", client_msg_id="i", at=1, members=["a"],
        join="invite", mode="push", history="all",
    )  # fmt: skip
    assert not MessageWriter(session).write([on_log(created, 0)]).poison

    async with cassandra_store(settings) as store:
        assert await store.all_changes("a") == {
            "old": [Change(3, joined=True, history="since_join")],
            "new": [Change(1, joined=True, history="all")],
        }
        assert await store.conversation("old") is not None
    rules = session.execute("SELECT conv_id, history_rule FROM conversation")
    assert dict(rules) == {"old": None, "new": "all"}
