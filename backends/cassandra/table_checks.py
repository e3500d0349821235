"""Compares existing tables with the statements that create them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from cassandra.cluster import Session

from schemas.errors import ConfigurationError
from schemas.settings import Settings

_NAME: Final = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)")
_COLUMN: Final = re.compile(r"(\w+) (text|int|bigint|boolean)\b( PRIMARY KEY)?")
_KEY: Final = re.compile(r"PRIMARY KEY \(\(([^)]*)\)(?:, ([^)]*))?\)")
_DESCENDING: Final = re.compile(r"CLUSTERING ORDER BY \((\w+) DESC\)")
_COMPACTION: Final = re.compile(r"compaction = \{'class': '(\w+)'")
_EXPIRES: Final = "default_time_to_live"


class Table(NamedTuple):
    """The properties of a table that matter to the code.

    ``columns``: the type of each column. ``key``: the columns of the partition key and of the
    clustering key, each with its order. ``expires``: whether the table has a default TTL.
    ``compaction``: the compaction class; an empty class accepts any.
    """

    columns: dict[str, str]
    key: list[tuple[str, str]]
    expires: bool = False
    compaction: str = ""


def table_of(statement: str) -> tuple[str, Table]:
    """The name and the properties of a table, from the statement that creates the table."""
    (name,) = _NAME.findall(statement)
    columns = {column: kind for column, kind, _ in _COLUMN.findall(statement)}
    partition, clustering = _key_of(statement)
    descending = set(_DESCENDING.findall(statement))
    key = [(column, "none") for column in partition]
    key += [(column, "desc" if column in descending else "asc") for column in clustering]
    compaction = "".join(_COMPACTION.findall(statement))
    return name, Table(columns, key, _EXPIRES in statement, compaction)


def check_tables(session: Session, settings: Settings, statements: Iterable[str]) -> None:
    """Checks all tables of the keyspace. Additional columns are accepted.

    Raises:
        ConfigurationError: A table lacks a column, or has another key, type, order, expiry or
            compaction.
    """
    found = found_tables(session, settings)
    wanted = dict(map(table_of, statements))
    wrong = [
        f"table {settings.keyspace}.{name} has {', '.join(faults)}"
        for name, table in wanted.items()
        if (faults := list(differences(found[name], table)))
    ]
    if wrong:
        raise ConfigurationError(
            f"{'; '.join(wrong)}: see 'Tables of an earlier version' in docs/operating.md"
        )


def differences(found: Table, wanted: Table) -> Iterator[str]:
    """The differences of an existing table from the wanted one, each as a phrase."""
    for column, kind in wanted.columns.items():
        if column not in found.columns:
            yield f"no column {column} {kind}"
        elif found.columns[column] != kind:
            yield f"column {column} {found.columns[column]} (needs {kind})"
    if found.key != wanted.key:
        yield f"the key {_shown(found)} (needs {_shown(wanted)})"
    if found.expires and not wanted.expires:
        yield f"{_EXPIRES} (needs 0)"
    if wanted.compaction and found.compaction != wanted.compaction:
        yield f"compaction {found.compaction} (needs {wanted.compaction})"


def _key_of(statement: str) -> tuple[list[str], list[str]]:
    match = _KEY.search(statement)
    if match is None:
        return [column for column, _, is_key in _COLUMN.findall(statement) if is_key], []
    return match[1].split(", "), match[2].split(", ") if match[2] else []


def found_tables(session: Session, settings: Settings) -> dict[str, Table]:
    """The tables of the keyspace, by name."""
    tables = {
        name: Table({}, [], ttl > 0, compaction["class"].rpartition(".")[2])
        for name, ttl, compaction in session.execute(
            "SELECT table_name, default_time_to_live, compaction FROM system_schema.tables"
            " WHERE keyspace_name = %s",
            (settings.keyspace,),
        )
    }
    keys = []
    for table, column, kind, place, order, of_type in session.execute(
        "SELECT table_name, column_name, kind, position, clustering_order, type"
        " FROM system_schema.columns WHERE keyspace_name = %s",
        (settings.keyspace,),
    ):
        if table not in tables:
            continue  # another process made the table between the two queries
        tables[table].columns[column] = of_type
        if kind in {"partition_key", "clustering"}:
            keys.append((table, kind == "clustering", place, column, order))
    for table, _, _, column, order in sorted(keys):
        tables[table].key.append((column, order))
    return tables


def _shown(table: Table) -> str:
    return " ".join(
        column if order == "none" else f"{column} {order}" for column, order in table.key
    )
