"""The least permissions of each role in Cassandra and in Elasticsearch. Without I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from backends.cassandra.tables import keyspace_statement
from ops.access.kafka_rules import Role
from schemas.settings import Settings

WRITTEN_TABLES: Final[Mapping[Role, tuple[str, ...]]] = {
    "sinks": (
        "conversation", "membership_by_conversation", "membership_by_user", "message",
        "read_mark", "sync", "sync_bucket", "sync_expiry",
    ),
    "push": (),
    "gateway": ("device", "device_cursor"),
}  # fmt: skip
"""The tables to which a role writes. These roles read all tables."""

_METADATA: Final = ("view_index_metadata",)


def cassandra_roles(settings: Settings, users: Mapping[Role, str]) -> Iterator[str]:
    """The statements that a superuser executes before `im prepare`."""
    yield keyspace_statement(settings)
    for role in ("administrators", *WRITTEN_TABLES):
        yield f"CREATE ROLE IF NOT EXISTS {_quoted(users[role])} WITH LOGIN = true"
    administrators = _quoted(users["administrators"])
    yield f"GRANT ALL PERMISSIONS ON KEYSPACE {settings.keyspace} TO {administrators}"


def cassandra_grants(settings: Settings, users: Mapping[Role, str]) -> Iterator[str]:
    """The statements that a superuser executes after `im prepare`, which creates the tables."""
    for role, tables in WRITTEN_TABLES.items():
        user = _quoted(users[role])
        yield f"GRANT SELECT ON KEYSPACE {settings.keyspace} TO {user}"
        for table in tables:
            yield f"GRANT MODIFY ON TABLE {settings.keyspace}.{table} TO {user}"


def search_api_keys(settings: Settings, users: Mapping[Role, str]) -> Iterator[str]:
    """The bodies of ``POST /_security/api_key`` for each role that uses Elasticsearch."""
    alias, identity = settings.index_alias, f"{settings.namespace}-deployment"
    messages = [alias, f"{alias}-*"]
    privileges: Mapping[Role, list[dict[str, Any]]] = {
        # `manage`: the sink creates the index of a month and adds the index to the alias.
        "sinks": [_on(messages, "manage", "read", "write"), _on([identity], "read", *_METADATA)],
        "gateway": [_on([*messages, identity], "read", *_METADATA)],
        "administrators": [_on([*messages, identity], "all")],
    }
    for role, indices in privileges.items():
        role_descriptor = {"cluster": ["monitor"], "indices": indices}
        body = {"name": users[role], "role_descriptors": {users[role]: role_descriptor}}
        yield json.dumps(body)


def _on(names: list[str], *privileges: str) -> dict[str, Any]:
    return {"names": names, "privileges": list(privileges)}


def _quoted(name: str) -> str:
    """A role's name in CQL, with capital letters and dashes."""
    return '"' + name.replace('"', '""') + '"'
