"""Searches for a text in every place of a deployment that could contain it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import stamina
from cassandra.cluster import Session
from elasticsearch import Elasticsearch
from elasticsearch.helpers import scan

from backends.cassandra.session import cassandra_session
from backends.elasticsearch.index import elasticsearch_client
from backends.search_text import readings_of
from schemas.errors import ServerUnavailable
from schemas.settings import Settings
from schemas.topics import Topic
from tests.support.topics import read_all


def places_with(settings: Settings, marker: str, files: Path) -> set[str]:
    """The names of all tables, indices, dead-letter topics and files that contain a text.

    The log itself is excluded: it retains every written record for its retention.
    """
    with _session(settings) as session, elasticsearch_client(settings) as search:
        return {
            *_tables(session, settings, marker),
            *_indices(search, settings, marker),
            *_dead_letters(settings, marker),
            *_files(files, marker),
        }


@contextmanager
def _session(settings: Settings) -> Iterator[Session]:
    """A session. A node under the load of other tests may miss the timeout of a connection."""
    with ExitStack() as stack:
        for attempt in stamina.retry_context(on=ServerUnavailable, attempts=3, timeout=None):
            with attempt:
                session = stack.enter_context(cassandra_session(settings))
        yield session


def _tables(session: Session, settings: Settings, marker: str) -> Iterator[str]:
    """All columns of all rows of all existing tables."""
    query = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s"
    for (table,) in list(session.execute(query, (settings.keyspace,))):
        rows = session.execute(f"SELECT JSON * FROM {settings.keyspace}.{table}")  # noqa: S608 - names from the server
        if any(marker in json.dumps(json.loads(row), ensure_ascii=False) for (row,) in rows):
            yield table


def _indices(search: Elasticsearch, settings: Settings, marker: str) -> Iterator[str]:
    """``index``: the raw source of a document has the text. ``tokens``: a search finds the text.

    The function reads all documents page by page; likewise all documents whose tokens match.
    """
    pattern = f"{settings.index_alias}*"
    search.indices.refresh(index=pattern)
    documents = scan(search, index=pattern, query={"query": {"match_all": {}}})
    if any(marker in json.dumps(each, ensure_ascii=False) for each in documents):
        yield "index"
    (tokens,) = readings_of(marker)
    phrase = {"match_phrase": {"tokens": tokens}}
    if search.count(index=pattern, query=phrase)["count"]:
        yield "tokens"


def _dead_letters(settings: Settings, marker: str) -> Iterator[str]:
    for letter in read_all(settings, Topic.DEAD_LETTER):
        parts = [letter.key() or b"", letter.value() or b""]
        parts += [repr(letter.headers()).encode()]
        if any(marker.encode() in part for part in parts):
            yield "dead-letter"


def _files(folder: Path, marker: str) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file() and marker.encode() in path.read_bytes():
            yield path.name
