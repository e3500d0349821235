"""What all tests may ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support.containers import container_servers, docker_answers
from tests.support.servers import Servers, devstack_servers, given_servers

__all__ = ["Servers"]

# How long one example takes says more about what else the machine does than about the code.
settings.register_profile("im", deadline=None)
settings.load_profile("im")


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Running Kafka, Cassandra and Elasticsearch; each `Servers.settings` is a fresh namespace."""
    if given := given_servers():
        yield given
        return
    with container_servers() if docker_answers() else devstack_servers() as started:
        yield started
