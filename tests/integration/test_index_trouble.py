"""An index that the search sink cannot write, because of an operator or a full disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from elasticsearch import Elasticsearch

from backends.elasticsearch.index import elasticsearch_client
from schemas.errors import TransientFailure
from schemas.settings import Settings
from sinks.base.records import Record
from sinks.base.writer_port import WriteOutcome
from sinks.elasticsearch.index_writer import SearchWriter
from tests.conftest import Servers
from tests.support.clock import Clock
from tests.support.sink_store_search import SearchStore

pytestmark = pytest.mark.servers


@contextmanager
def closed(client: Elasticsearch, settings: Settings) -> Iterator[None]:
    """Closes the indices, and opens them again."""
    names = _names(client, settings)
    client.indices.close(index=names)
    yield
    client.indices.open(index=names)


@contextmanager
def blocked(client: Elasticsearch, settings: Settings) -> Iterator[None]:
    """Blocks writes to the indices, and permits them again."""
    _block(client, settings, "index.blocks.read_only", is_set=True)
    yield
    _block(client, settings, "index.blocks.read_only", is_set=False)


@contextmanager
def flooded(client: Elasticsearch, settings: Settings) -> Iterator[None]:
    """Sets the block of a full disk, and removes it."""
    _block(client, settings, "index.blocks.read_only_allow_delete", is_set=True)
    yield
    _block(client, settings, "index.blocks.read_only_allow_delete", is_set=False)


@contextmanager
def unnamed(client: Elasticsearch, settings: Settings) -> Iterator[None]:
    """Removes the alias, and restores it."""
    names = _names(client, settings)
    client.indices.delete_alias(index=names, name=settings.index_alias)
    yield
    client.indices.put_alias(index=names, name=settings.index_alias)


def _names(client: Elasticsearch, settings: Settings) -> list[str]:
    """The indices of the deployment; a server may refuse to close a pattern."""
    return list(client.indices.get(index=f"{settings.index_alias}-*"))


def _block(client: Elasticsearch, settings: Settings, name: str, *, is_set: bool) -> None:
    value = True if is_set else None
    client.indices.put_settings(index=f"{settings.index_alias}-*", settings={name: value})


def refused(writer: SearchWriter, records: Sequence[Record]) -> str:
    """The reason why nothing is written now. Fails if a record is written, or is poison."""
    try:
        outcome = writer.write(records)
    except TransientFailure as error:
        return str(error)
    assert not outcome.poison
    assert outcome.to_retry
    return outcome.retry_reason


@pytest.mark.parametrize("trouble", [closed, blocked, flooded, unnamed])
@pytest.mark.parametrize("is_new", [False, True], ids=["running", "restarted"])
def test_a_sink_waits_while_its_index_is_unusable(
    servers: Servers,
    trouble: Callable[[Elasticsearch, Settings], Iterator[None]],
    *,
    is_new: bool,
) -> None:
    """An error of the index makes no document poison; after the repair all documents are there."""
    settings = servers.settings()
    with elasticsearch_client(settings) as client:
        store, clock = SearchStore(client, settings), Clock()
        writer = SearchWriter(client, settings, clock)
        records = store.good()
        writer.write(records)
        clock.now += 60
        if is_new:
            writer = SearchWriter(client, settings, clock)
        with trouble(client, settings):  # type: ignore[attr-defined]  # context managers
            for _ in range(2):
                assert refused(writer, records)
        assert writer.write(records) == WriteOutcome([], [])
        assert store.contents() == store.expected(records)
