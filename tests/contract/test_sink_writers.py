"""The contract of the sinks' writers: in memory, on Cassandra and on Elasticsearch."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pytest
from cassandra.cluster import Session

from backends.cassandra.session import cassandra_session
from backends.cassandra.tables import create_tables
from backends.elasticsearch.index import create_index, elasticsearch_client
from schemas.number_types import Milliseconds
from schemas.settings import Settings
from sinks.base.records import Record
from sinks.base.writer_port import StoreWriter
from tests.support.servers import Servers
from tests.support.sink_store_messages import MessageStore
from tests.support.sink_store_search import SearchStore
from tests.support.sink_store_sync import SyncStore
from tests.support.sink_stores import AT, MemoryStore, SinkStore


@pytest.fixture(scope="module")
def deployment(servers: Servers) -> Settings:
    """Settings of this module alone."""
    return servers.settings()


@pytest.fixture(scope="module")
def session(deployment: Settings) -> Iterator[Session]:
    """A session with all tables."""
    with cassandra_session(deployment) as session:
        create_tables(session, deployment)
        yield session


def server(name: str) -> object:
    """A parameter that needs the real servers."""
    return pytest.param(name, marks=pytest.mark.servers)


@pytest.fixture(params=["memory", server("message"), server("sync"), server("search")])
def store(request: pytest.FixtureRequest) -> Iterator[SinkStore]:
    """Each test runs on all stores."""
    if request.param == "memory":
        yield MemoryStore()
        return
    settings = request.getfixturevalue("deployment")
    if request.param == "search":
        with elasticsearch_client(settings) as client:
            create_index(
                client, settings, Milliseconds(AT)
            )  # so that a search before the first write succeeds
            yield SearchStore(client, settings)
        return
    session = request.getfixturevalue("session")
    yield MessageStore(session) if request.param == "message" else SyncStore(session, settings)


def write(writer: StoreWriter, records: Sequence[Record]) -> None:
    """Write records without poison."""
    outcome = writer.write(records)
    assert not outcome.poison
    assert not outcome.to_retry


def test_written_records_are_in_the_store(store: SinkStore) -> None:
    """The store contains exactly the written records."""
    write(store.writer(), store.good())
    assert store.contents() == store.expected(store.good())


def test_an_empty_batch_is_accepted(store: SinkStore) -> None:
    """An empty batch writes nothing."""
    before = store.contents()
    write(store.writer(), [])
    assert store.contents() == before


@pytest.mark.parametrize("seed", range(3))
def test_a_replay_changes_nothing(store: SinkStore, seed: int) -> None:
    """Repeated parts, in any order and by any process, do not change the result.

    The same holds for old records after newer ones, as after a rebalance.
    """
    choose = random.Random(seed)
    good = store.good()
    for _ in range(4):
        start, writer = choose.randrange(len(good)), store.writer()
        part = good[start : start + choose.randrange(1, len(good))]
        choose.shuffle(part)
        write(writer, part)
    writer = store.writer()
    for record in reversed(good):
        write(writer, [record])
    assert store.contents() == store.expected(good)


def test_a_part_of_the_records_is_written_exactly(store: SinkStore) -> None:
    """After a part of the records, the store contains exactly this part."""
    half = store.good()[::2]
    write(store.writer(), half)
    assert store.contents() == store.expected(half)


def test_a_poison_record_is_reported_by_position_and_other_records_are_stored(
    store: SinkStore,
) -> None:
    """Each poison record is named by its position, and all others are durable."""
    good, bad = store.good(), store.bad()
    batch = [record for pair in zip(bad, good, strict=False) for record in pair]
    batch += good[len(bad) :]
    for _ in range(2):  # the second time is a replay
        outcome = store.writer().write(batch)
        assert sorted(found.index for found in outcome.poison) == list(range(0, 2 * len(bad), 2))
        assert not outcome.to_retry
    assert store.contents() == store.expected(good)


def test_reasons_quote_nothing_of_the_record(store: SinkStore) -> None:
    """Reasons are logged and stored with the dead letter, so they do not quote the record."""
    bad = store.bad()
    outcome = store.writer().write(bad)
    assert len(outcome.poison) == len(bad)
    for found in outcome.poison:
        assert 0 < len(found.reason) < 120
        assert "hush" not in found.reason
