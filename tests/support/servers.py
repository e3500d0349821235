"""Real servers for tests, from the first available source.

1. The servers in IM_KAFKA_BOOTSTRAP, IM_CASSANDRA_HOSTS and IM_ELASTICSEARCH_URL, if all are set.
2. Containers, if a Docker engine is available.
3. The development stack, on free ports, in a separate folder.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from backends.kafka.clients import admin_client
from backends.processes.file_lock import file_lock
from devstack.ports import free_ports
from devstack.servers import all_servers
from devstack.settings import DevstackSettings
from devstack.stack import Stack
from schemas.errors import ConfigurationError
from schemas.settings import Settings

ROOT: Final = Path(__file__).parents[2]
HOME: Final = ROOT / ".im"
_MOST_RUNS: Final = 16
"""Maximum number of test runs at the same time in one checkout."""

_JAVA_OPTIONS: Final = "-XX:TieredStopAtLevel=1 -Dcassandra.test.flush_local_schema_changes=false"
"""Servers that run for minutes do not regain the cost of optimising their code.

Cassandra flushes its schema tables to disk after each change of a schema. Tests create many
keyspaces. Without the flush a keyspace costs 28 % less processor time; the commit log still holds
the change, so a killed server restores it.
"""

_DELETE_SECONDS: Final = 60.0
_ADDRESSES: Final = ("kafka_bootstrap", "cassandra_hosts", "elasticsearch_url")


class Servers:
    """Running servers.

    Args:
        home: Folder for the files that tests write.
        addresses: The fields of `Settings` with the addresses of the servers.
    """

    def __init__(self, home: Path, addresses: dict[str, str]) -> None:
        self.home = home
        self.addresses = addresses
        self._namespaces: set[str] = set()

    def settings(self, **overrides: Any) -> Settings:
        """Settings of a deployment on these servers, with a fresh random namespace."""
        own = {
            "namespace": f"t-{secrets.token_hex(4)}", "home": self.home,
            "partitions": 2, "sync_partitions": 2,  # few tests need more; each costs time
            "push_notifications": False,  # few tests run the push stage
        }  # fmt: skip
        made = Settings.model_validate(own | self.addresses | overrides)
        self._namespaces.add(made.namespace)
        return made

    def delete_topics(self) -> None:
        """Deletes the topics of all deployments of `settings`.

        The clients of later tests list all topics, so the topics of ended tests cost time.
        Keyspaces and indices remain until the servers end: Cassandra drops a keyspace more
        slowly than it creates one.
        """
        admin = admin_client(Settings.model_validate(self.addresses))
        listed = admin.list_topics(timeout=_DELETE_SECONDS).topics
        topics = [topic for topic in listed if topic.partition(".")[0] in self._namespaces]
        for deleted in admin.delete_topics(topics).values() if topics else ():
            deleted.result(_DELETE_SECONDS)


def given_servers() -> Servers | None:
    """The servers that the environment names."""
    named = {field: os.environ.get(f"IM_{field.upper()}", "") for field in _ADDRESSES}
    return Servers(HOME / "test" / "given", named) if all(named.values()) else None


@contextmanager
def devstack_servers() -> Iterator[Servers]:
    """The development stack."""
    with running_stack() as stack:
        yield Servers(stack.settings.home, addresses(stack))


@contextmanager
def running_stack(names: Sequence[str] = (), java_options: str = "") -> Iterator[Stack]:
    """The named servers, or all, with empty data; removes the remains of a crashed run."""
    with private_folder() as home:
        shutil.rmtree(home / "data", ignore_errors=True)
        stack = private_stack(home, names, java_options)
        stack.up()
        try:
            yield stack
        finally:
            stack.down()


def private_stack(home: Path, names: Sequence[str] = (), java_options: str = "") -> Stack:
    """A stack on free ports, not yet started, of the named servers or of all.

    For tests that stop servers: `Stack.stop`, `Stack.kill`, `Stack.start`, `Stack.await_ready`.
    """
    kafka, controller, cassandra, storage, elasticsearch, transport = free_ports(6)
    settings = DevstackSettings(
        home=home,
        servers_dir=HOME / "servers",
        kafka_port=kafka,
        kafka_controller_port=controller,
        cassandra_port=cassandra,
        cassandra_storage_port=storage,
        elasticsearch_port=elasticsearch,
        elasticsearch_transport_port=transport,
        kafka_heap="512m",
        cassandra_heap="1g",
        elasticsearch_heap="512m",
        java_options=f"{_JAVA_OPTIONS} {java_options}",
    )
    servers = [each for each in all_servers(settings) if not names or each.name in names]
    return Stack(settings, servers)


def addresses(stack: Stack) -> dict[str, str]:
    """The fields of `Settings` with the addresses of a stack's servers."""
    field = dict(zip(("kafka", "cassandra", "elasticsearch"), _ADDRESSES, strict=True))
    scheme = {"elasticsearch": "http://"}
    return {
        field[name]: scheme.get(name, "") + server.address
        for name, server in stack.servers.items()
    }


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder that no other test run uses now; the end of the process releases the lock."""
    folder = HOME / "test"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(_MOST_RUNS):
        with ExitStack() as lock:
            try:
                lock.enter_context(file_lock(folder / f"{number}.lock", "another run has it"))
            except ConfigurationError:
                continue
            yield folder / str(number)
            return
    raise AssertionError(f"{_MOST_RUNS} test runs at once are too many")
