"""The sinks as processes, on the real servers."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from cassandra.cluster import Session
from confluent_kafka import Message, Producer

from backends.cassandra.session import cassandra_session
from backends.cassandra.tables import create_tables
from backends.elasticsearch.index import create_index, elasticsearch_client, index_name
from backends.kafka.clients import create_topics, producer_config
from schemas.codec import encode
from schemas.errors import FatalFailure, TooManyPoison
from schemas.number_types import Milliseconds, Offset
from schemas.settings import Settings
from schemas.topics import Topic
from sinks.assembly import run_stage
from sinks.base.delivery import BatchDelivery
from sinks.base.poison import PoisonGuard, PoisonLimits
from sinks.base.records import Record
from sinks.cassandra.sync_writer import SyncWriter
from sinks.elasticsearch.index_writer import SearchWriter
from tests.support.processes import WAIT_SECONDS, running, wait_until
from tests.support.servers import Servers
from tests.support.sink_fakes import FakeDeadLetters
from tests.support.sink_store_messages import MessageStore
from tests.support.sink_store_search import SearchStore
from tests.support.sink_store_sync import SyncStore
from tests.support.sink_stores import AT, Conversation, SinkStore, on_log
from tests.support.stored_sync import logged_records, stored_records
from tests.support.topics import committed, is_caught_up, read_all

pytestmark = pytest.mark.servers


@contextmanager
def cassandra(settings: Settings) -> Iterator[Session]:
    """A session with all tables."""
    with cassandra_session(settings) as session:
        create_tables(session, settings)
        yield session


@contextmanager
def message_store(settings: Settings) -> Iterator[SinkStore]:
    """The store of ``sink-message``."""
    with cassandra(settings) as session:
        yield MessageStore(session)


@contextmanager
def sync_store(settings: Settings) -> Iterator[SinkStore]:
    """The store of ``sink-sync``."""
    with cassandra(settings) as session:
        yield SyncStore(session, settings)


@contextmanager
def search_store(settings: Settings) -> Iterator[SinkStore]:
    """The store of ``sink-search``."""
    with elasticsearch_client(settings) as client:
        create_index(client, settings, Milliseconds(AT))
        yield SearchStore(client, settings)


STAGES = [
    pytest.param("message", Topic.TIMELINE, message_store, id="message"),
    pytest.param("sync", Topic.SYNC, sync_store, id="sync"),
    pytest.param("search", Topic.TIMELINE, search_store, id="search"),
]
OpenStore = Callable[[Settings], AbstractContextManager[SinkStore]]


def append(
    settings: Settings, topic: Topic, records: Iterable[tuple[bytes | None, bytes | None]]
) -> None:
    """Appends records in one transaction, whose marker uses an offset as well."""
    producer = Producer(producer_config(settings) | {"transactional.id": settings.namespace})
    producer.init_transactions(30)
    producer.begin_transaction()
    for key, value in records:
        producer.produce(settings.topic(topic), value, key)
    producer.commit_transaction(30)


def placed(settings: Settings, topic: Topic, wanted: Sequence[Record]) -> list[Record]:
    """Those of the wanted records that are on the topic, with partition and offset."""
    found = [
        Record(m.partition() or 0, Offset(m.offset() or 0), m.key(), m.value())
        for m in read_all(settings, topic)
    ]
    values = {(record.key, record.value) for record in wanted}
    return [record for record in found if (record.key, record.value) in values]


def _text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""


def dead_letters(settings: Settings) -> list[dict[str, Any]]:
    """All dead letters: their headers as text, and their key and value."""

    def plain(message: Message) -> dict[str, Any]:
        headers = {
            str(name): _text(value) for name, value in dict(message.headers() or []).items()
        }
        return headers | {"key": message.key(), "value": message.value()}

    return [plain(message) for message in read_all(settings, Topic.DEAD_LETTER)]


@pytest.mark.parametrize(("stage", "topic", "open_store"), STAGES)
def test_a_sink_writes_commits_and_ends_in_order(
    servers: Servers, stage: str, topic: Topic, open_store: OpenStore
) -> None:
    """A sink stores good records, sends bad ones to the dead letters, and commits; the lag is 0.

    The dead letter names its source record but has no text, because the text may be recalled
    later. The commit contains the delay. On SIGTERM the process leaves the group and ends with 0.
    """
    settings = servers.settings(sync_partitions=1)  # all keys have the same shard
    create_topics(settings)
    group = f"sink-{stage}"
    with open_store(settings) as store:
        good, bad = store.good(), store.bad()[:2]
        append(settings, topic, [(record.key, record.value) for record in good + bad])
        with running(settings, "sinks", stage) as process:
            wait_until(lambda: is_caught_up(settings, group, topic), f"{group} has all")
            process.send_signal(signal.SIGTERM)
            assert process.wait(WAIT_SECONDS) == 0
        assert store.contents() == store.expected(placed(settings, topic, good))
    letters = dead_letters(settings)
    assert [(each["key"], each["value"]) for each in letters] == [(r.key, None) for r in bad]
    for letter in letters:
        assert letter["stage"] == group
        assert letter["topic"] == settings.topic(topic)
        assert letter["reason"]
    origins = {(int(letter["partition"]), int(letter["offset"])) for letter in letters}
    assert origins == {(r.partition, r.offset) for r in placed(settings, topic, bad)}
    notes = [
        msgspec.json.decode(p.metadata or "") for p in committed(settings, group, topic).values()
    ]
    assert sum(note["dead_letters"] for note in notes) == len(bad)
    assert sum(note["records"] for note in notes) == len(good) + len(bad)
    assert all(note["delay_ms"] > 0 for note in notes if "at" in note)


def test_a_sink_waits_for_its_topics(servers: Servers, caplog: pytest.LogCaptureFixture) -> None:
    """A sink started before its topics exist logs this, and continues when they are created."""
    settings = servers.settings()
    stop = threading.Event()
    sink = threading.Thread(target=run_stage, args=("search", settings, stop))
    sink.start()
    try:
        wait_until(lambda: "`im prepare` makes it" in caplog.text, "it says so")
        create_topics(settings)
        wait_until(lambda: committed(settings, "sink-search", Topic.TIMELINE), "it reads them")
    finally:
        stop.set()
        sink.join(WAIT_SECONDS)
    assert not sink.is_alive()


def test_a_sink_that_waits_can_be_stopped(servers: Servers) -> None:
    """SIGTERM ends a sink that has never reached its servers."""
    settings = servers.settings(kafka_bootstrap="127.0.0.1:1", cassandra_hosts="127.0.0.1:1")
    with running(settings, "sinks", "sync") as process:
        process.send_signal(signal.SIGTERM)
        # The signal may arrive before it has a handler.
        assert process.wait(WAIT_SECONDS) in (0, -signal.SIGTERM)


def test_too_much_poison_ends_the_process(servers: Servers) -> None:
    """A batch with too much poison ends the process with an exit code.

    No record of the batch becomes a dead letter, and nothing is committed.
    """
    settings = servers.settings(partitions=1)
    create_topics(settings)
    append(settings, Topic.TIMELINE, [(b"c", b"garbage")] * (PoisonLimits().run + 1))
    with running(settings, "sinks", "search") as process:
        assert process.wait(WAIT_SECONDS) == TooManyPoison.exit_code
    assert committed(settings, "sink-search", Topic.TIMELINE) == {}
    assert dead_letters(settings) == []


def test_a_missing_table_ends_the_process(servers: Servers) -> None:
    """A missing table ends the process: every row fails, but no row is poison."""
    settings = servers.settings()
    create_topics(settings)
    said = on_log(Conversation("c").said(1, "hello"), 0)
    with cassandra(settings) as session, running(settings, "sinks", "message") as process:
        wait_until(lambda: committed(settings, "sink-message", Topic.TIMELINE), "it reads")
        session.execute("DROP TABLE message")
        append(settings, Topic.TIMELINE, [(said.key, said.value)])
        assert process.wait(WAIT_SECONDS) == FatalFailure.exit_code
    assert not is_caught_up(settings, "sink-message", Topic.TIMELINE)
    assert dead_letters(settings) == []


def test_processes_of_a_group_share_partitions_and_take_them_over(servers: Servers) -> None:
    """With one process killed and one stopped, the other process writes every record."""
    settings = servers.settings()
    create_topics(settings)
    users = [f"user {n}".encode() for n in range(50)]
    value = encode(Conversation("c").said(1, "x" * 200))
    batch = [(user, value) for user in users] * 100

    def share() -> bool:
        return len(committed(settings, "sink-sync", Topic.SYNC)) == settings.sync_partitions

    with (
        running(settings, "sinks", "sync") as killed,
        running(settings, "sinks", "sync") as stopped,
    ):
        wait_until(share, "all partitions have a reader")
        append(settings, Topic.SYNC, batch)
        killed.kill()
        append(settings, Topic.SYNC, batch)
        with running(settings, "sinks", "sync"):
            append(settings, Topic.SYNC, batch)
            stopped.send_signal(signal.SIGTERM)
            assert stopped.wait(WAIT_SECONDS) == 0
            wait_until(lambda: is_caught_up(settings, "sink-sync", Topic.SYNC), "all is written")
    assert stored_records(settings) == logged_records(settings)
    assert len(logged_records(settings)) == 3 * len(batch)


def test_a_bucket_listing_expires_after_its_rows(servers: Servers) -> None:
    """The list of buckets expires after the rows, so it has every bucket that has a row."""
    settings = servers.settings(sync_lifetime=timedelta(seconds=5))
    record = Record(0, Offset(5), b"ann", encode(Conversation("c").said(1, "hello")))
    with cassandra(settings) as session:
        SyncWriter(session, settings).write([record])

        def rows(table: str) -> list[object]:
            return list(session.execute(f"SELECT * FROM {table}"))  # noqa: S608 - names from this test

        def has_expired() -> bool:
            # The listing is read first: only a listing that ends before the row is a fault.
            listed, stored = rows("sync_bucket"), rows("sync")
            assert listed or not stored
            return not stored

        assert rows("sync")
        wait_until(has_expired, "the row has expired")
        wait_until(lambda: not rows("sync_bucket"), "the listing has expired, too")


def test_a_listing_is_renewed_before_it_expires(servers: Servers) -> None:
    """A bucket that is written for longer than a lifetime stays listed."""
    settings = servers.settings(sync_lifetime=timedelta(seconds=1_000))
    record = Record(0, Offset(5), b"ann", encode(Conversation("c").said(1, "hello")))
    now = 0.0
    with cassandra(settings) as session:
        writer = SyncWriter(session, settings, lambda: now)

        def is_listed_by_a_write() -> bool:
            session.execute("TRUNCATE sync_bucket")
            writer.write([record])
            return bool(session.execute("SELECT user_id FROM sync_bucket").all())

        assert is_listed_by_a_write()
        now = 99
        assert not is_listed_by_a_write()  # the listing is recent enough
        now = 101
        assert is_listed_by_a_write()


def test_a_deleted_index_is_created_again(servers: Servers) -> None:
    """A running sink creates a deleted index again and resends only its documents."""
    settings = servers.settings()
    records = [on_log(Conversation("c").said(seq, "hello"), seq) for seq in range(1, 6)]
    with elasticsearch_client(settings) as client:
        writer = SearchWriter(client, settings)
        delivery = BatchDelivery(writer, FakeDeadLetters(), PoisonGuard(PoisonLimits()))
        delivery.deliver(records, threading.Event())
        client.indices.delete(index=index_name(settings, Milliseconds(AT)))
        outcome = writer.write(records)
        assert list(outcome.to_retry) == [0, 1, 2, 3, 4]
        assert "index_not_found" in outcome.retry_reason
        delivery.deliver(records, threading.Event())
        client.indices.refresh(index=settings.index_alias)
        assert client.count(index=settings.index_alias)["count"] == 5
