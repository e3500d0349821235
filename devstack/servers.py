"""What the stack needs to know of a server, and which there are."""

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
    """One of the servers."""

    @property
    def name(self) -> str:
        """Its program's name."""

    @property
    def distribution(self) -> Distribution:
        """What to fetch."""

    @property
    def ports(self) -> dict[str, int]:
        """Each port that it listens on, by the variable that sets it."""

    @property
    def address(self) -> str:
        """Where clients find it, host:port."""

    def prepare(self, installed: Path, java: Path, layout: Layout) -> Program:
        """Writes its configuration and says how to run it.

        Args:
            installed: The folder that `devstack.artifacts.fetch` made.
            java: The ``java`` executable.
            layout: Where to put configuration and data.
        """

    def is_ready(self) -> bool:
        """Whether it does its work now; answers within a few seconds."""


def all_servers(settings: DevstackSettings) -> tuple[Server, ...]:
    """Kafka, Cassandra and Elasticsearch."""
    return KafkaServer(settings), CassandraServer(settings), ElasticsearchServer(settings)
