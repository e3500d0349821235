"""Sinks whose servers stop, hang and die during writes."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from cassandra.cluster import EXEC_PROFILE_DEFAULT
from confluent_kafka import Producer

from backends.cassandra.session import cassandra_session
from backends.cassandra.tables import create_tables
from backends.kafka.clients import create_topics, producer_config
from devstack.stack import Stack
from schemas.codec import encode
from schemas.errors import TransientFailure
from schemas.settings import Settings
from schemas.topics import Topic
from sinks.base.records import Record
from sinks.base.writer_port import StoreWriter
from tests.conftest import Servers
from tests.support.processes import running, wait_until
from tests.support.servers import addresses
from tests.support.sink_store_messages import MessageStore
from tests.support.sink_store_sync import SyncStore
from tests.support.sink_stores import Conversation
from tests.support.stored_sync import logged_records, stored_records
from tests.support.topics import committed, is_caught_up

pytestmark = pytest.mark.servers

HALF = 20_000
USERS = 30
PATIENCE = 180.0


@pytest.fixture
def settings(stack: Stack, tmp_path: Path) -> Settings:
    """A deployment on these servers, with its topics."""
    fresh = Servers(tmp_path, addresses(stack)).settings(sync_partitions=2, partitions=2)
    create_topics(fresh)
    return fresh


def write_half(settings: Settings) -> None:
    """Appends many sync records; waits for a broker that is down."""
    value = encode(Conversation("c").said(1, "x" * 300))
    producer = Producer(producer_config(settings))
    for number in range(HALF):
        producer.produce(settings.topic(Topic.SYNC), value, f"user {number % USERS}")
    assert producer.flush(PATIENCE) == 0


def has_begun(settings: Settings) -> bool:
    """Whether a part of the records is committed."""
    return any(p.offset > 0 for p in committed(settings, "sink-sync", Topic.SYNC).values())


def assert_all_there(settings: Settings) -> None:
    """Asserts that Cassandra has exactly the records of the log."""
    wait_until(lambda: is_caught_up(settings, "sink-sync", Topic.SYNC), "all is written", PATIENCE)
    logged = logged_records(settings)
    assert stored_records(settings) == logged
    assert len(logged) == 2 * HALF


def test_a_sink_continues_after_cassandra_was_stopped(stack: Stack, settings: Settings) -> None:
    """While Cassandra is down, SIGTERM ends a sink in order; the next sink resumes later."""
    with running(settings, "sinks", "sync") as process:
        write_half(settings)
        wait_until(lambda: has_begun(settings), "it has begun", PATIENCE)
        stack.stop("cassandra")
        write_half(settings)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    assert not is_caught_up(settings, "sink-sync", Topic.SYNC)
    with running(settings, "sinks", "sync") as process:
        stack.start("cassandra")
        assert_all_there(settings)
        assert process.poll() is None


def test_a_sink_continues_after_the_broker_was_killed(stack: Stack, settings: Settings) -> None:
    """After a broker was killed, the same process continues to read and to commit."""
    with running(settings, "sinks", "sync") as process:
        write_half(settings)
        wait_until(lambda: has_begun(settings), "it has begun", PATIENCE)
        stack.kill("kafka")
        write_half(settings)
        assert_all_there(settings)
        assert process.poll() is None


@pytest.mark.parametrize("kind", ["message", "sync"])
def test_a_sink_writes_again_to_a_server_that_hung(
    stack: Stack, settings: Settings, kind: str
) -> None:
    """Requests to a hanging server time out, become no dead letters, and are sent again."""
    stack.await_ready("cassandra", seconds=300)
    with cassandra_session(settings) as session:
        create_tables(session, settings)
        store = MessageStore(session) if kind == "message" else SyncStore(session, settings)
        writer = store.writer()
        records = store.good()
        writer.write(records[:1])  # connects, and prepares all statements
        session.cluster.profile_manager.profiles[EXEC_PROFILE_DEFAULT].request_timeout = 0.5
        stack.supervisor.signal("cassandra", "STOP")
        try:
            wait_until(lambda: "OperationTimedOut" in failure(writer, records), "it times out")
        finally:
            stack.supervisor.signal("cassandra", "CONT")
        session.cluster.profile_manager.profiles[EXEC_PROFILE_DEFAULT].request_timeout = 20
        wait_until(lambda: not failure(writer, records), "it is written", PATIENCE)
        assert store.contents() == store.expected(records)


def failure(writer: StoreWriter, records: Sequence[Record]) -> str:
    """The reason why some records are not durable after one more attempt; empty if all are."""
    try:
        outcome = writer.write(records)
    except TransientFailure as error:
        return str(error)
    assert not outcome.poison
    return outcome.retry_reason
