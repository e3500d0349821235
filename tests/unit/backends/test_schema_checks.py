"""Requirements for an existing table or index."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any, cast

import pytest
from elasticsearch import Elasticsearch

from backends.cassandra import tables as cassandra
from backends.cassandra.table_checks import Table, differences, table_of
from backends.elasticsearch.index import MAPPINGS, create_index
from backends.elasticsearch.index_checks import check_indices
from schemas.errors import ConfigurationError
from schemas.number_types import Milliseconds
from schemas.settings import Settings

STATEMENT = """CREATE TABLE IF NOT EXISTS t (
    a text, b int, c bigint, d boolean, PRIMARY KEY ((a, b), c)
) WITH default_time_to_live = 7 AND compaction = {'class': 'TimeWindowCompactionStrategy'}
  AND CLUSTERING ORDER BY (c DESC)"""


class FakeIndices:
    """The part of the client that creates and describes indices."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.created: dict[str, Any] = {}
        self.body = found

    def create(self, **given: Any) -> None:
        """Record the arguments."""
        self.created = given

    def get(self, **_given: Any) -> FakeIndices:
        """Return all indices, as `body`."""
        return self


class FakeClient:
    """A client of Elasticsearch with indices alone, of generation 0."""

    def __init__(self, found: dict[str, Any] | None = None) -> None:
        self.indices = FakeIndices(found or {})

    def get(self, **_given: Any) -> SimpleNamespace:
        """Return the state of the generations."""
        return SimpleNamespace(body={"_source": {}, "_seq_no": 1, "_primary_term": 1})


def as_client(fake: FakeClient) -> Elasticsearch:
    """Cast the fake to the client's type."""
    return cast("Elasticsearch", fake)


def index(replicas: int, mappings: dict[str, Any] | None = None) -> dict[str, Any]:
    """The description of one index."""
    settings = {"index": {"number_of_replicas": str(replicas)}}
    return {"im-message-2026.01": {"mappings": mappings or MAPPINGS, "settings": settings}}


def test_a_statement_contains_the_required_table() -> None:
    """Columns, key with order, TTL and compaction are parsed from a statement."""
    needed = Table(
        {"a": "text", "b": "int", "c": "bigint", "d": "boolean"},
        [("a", "none"), ("b", "none"), ("c", "desc")],
        expires=True,
        compaction="TimeWindowCompactionStrategy",
    )
    assert table_of(STATEMENT) == ("t", needed)


def test_every_table_of_the_deployment_is_parsed() -> None:
    """Each statement has a different name, and its key consists of its columns."""
    tables = dict(map(table_of, cassandra._TABLES))  # noqa: SLF001 - the statements under test
    assert len(tables) == len(cassandra._TABLES)  # noqa: SLF001 - the same
    for table in tables.values():
        assert table.key
        assert {column for column, _ in table.key} <= table.columns.keys()


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        ({"columns": {"a": "text"}}, "no column b int"),
        ({"columns": {"a": "text", "b": "bigint"}}, "column b bigint (needs int)"),
        ({"key": [("a", "none"), ("b", "desc")]}, "the key a b desc (needs a b asc)"),
        ({"key": [("b", "none")]}, "the key b (needs a b asc)"),
        ({"expires": True}, "default_time_to_live (needs 0)"),
        ({"compaction": "Y"}, "compaction Y (needs X)"),
    ],
)
def test_each_difference_of_a_table_is_named(change: dict[str, Any], phrase: str) -> None:
    """Each difference is one phrase with the actual and the required value."""
    wanted = Table({"a": "text", "b": "int"}, [("a", "none"), ("b", "asc")], compaction="X")
    assert list(differences(wanted, wanted)) == []
    assert list(differences(wanted._replace(**change), wanted)) == [phrase]


@pytest.mark.parametrize("copies", [1, 3])
def test_an_index_has_as_many_copies_as_the_log(copies: int) -> None:
    """The number of replicas is one less than the number of copies of the log."""
    fake = FakeClient()
    create_index(as_client(fake), Settings(replication=copies), Milliseconds(0))
    assert fake.indices.created["settings"]["number_of_replicas"] == copies - 1


def test_an_index_with_too_few_copies_is_refused() -> None:
    """An index with fewer copies is refused, and one with more is accepted."""
    settings = Settings(replication=3)
    check_indices(as_client(FakeClient(index(2))), settings)
    check_indices(as_client(FakeClient(index(4))), settings)
    with pytest.raises(ConfigurationError, match=r"number_of_replicas=1 \(needs 2 or more\)"):
        check_indices(as_client(FakeClient(index(1))), settings)


def test_an_index_with_another_mapping_is_refused() -> None:
    """A wrong analyzer or a missing field is refused, although the layout number is right."""
    other = copy.deepcopy(MAPPINGS)
    other["properties"]["tokens"]["analyzer"] = "standard"
    with pytest.raises(ConfigurationError, match=r"tokens.analyzer=standard \(needs whitespace\)"):
        check_indices(as_client(FakeClient(index(0, other))), Settings())
    del other["properties"]["tokens"]
    with pytest.raises(ConfigurationError, match=r"tokens.type=None \(needs text\)"):
        check_indices(as_client(FakeClient(index(0, other))), Settings())
