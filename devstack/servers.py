"""The interface of a server, and the list of all servers."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from devstack.artifacts import Distribution
from devstack.cassandra import CassandraServer
from devstack.elasticsearch import ElasticsearchServer
from devstack.kafka import KafkaServer
from devstack.layout import Layout
from devstack.program import Program
from devstack.settings import DevstackSettings


class Server(Protocol):
    """One of the development servers."""

    @property
    def name(self) -> str:
        """The name of its program."""

    @property
    def distribution(self) -> Distribution:
        """The distribution to fetch."""

    @property
    def ports(self) -> dict[str, int]:
        """Each port of the server, by the variable that sets it."""

    @property
    def address(self) -> str:
        """The address for clients, host:port."""

    def prepare(self, installed: Path, java: Path, layout: Layout) -> Program:
        """Write the configuration and return the program.

        Args:
            installed: The folder from `devstack.artifacts.fetch`.
            java: The ``java`` executable.
            layout: The folders for configuration and data.
        """

    def is_ready(self) -> bool:
        """Return whether the server is ready now; takes a few seconds at most."""


def all_servers(settings: DevstackSettings) -> tuple[Server, ...]:
    """Return Kafka, Cassandra and Elasticsearch."""
    return KafkaServer(settings), CassandraServer(settings), ElasticsearchServer(settings)
