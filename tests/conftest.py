"""Fixtures and settings of all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from tests.support import shared
from tests.support.scheduling import FilesTogether, worker_count
from tests.support.servers import Servers

__all__ = ["Servers"]

# The time of an example depends more on the load of the machine than on the code.
settings.register_profile("im", deadline=None)
settings.load_profile("im")


def pytest_configure(config: pytest.Config) -> None:
    """Let the main process of the run own the servers."""
    if not shared.is_worker(config):
        config.pluginmanager.register(shared.SharedServers(), shared.SharedServers.__name__)


@pytest.hookimpl(optionalhook=True)  # pytest-xdist's
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """Distribute tests to workers by ``--dist loadfile``: see `tests.support.scheduling`."""
    return FilesTogether(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(optionalhook=True)  # pytest-xdist's
def pytest_xdist_auto_num_workers() -> int:
    """The number of workers for ``--numprocesses=auto``."""
    return worker_count()


@pytest.fixture(scope="session")
def shared_servers(request: pytest.FixtureRequest) -> Servers:
    """Running Kafka, Cassandra and Elasticsearch, for deployments of several files."""
    return shared.ask(request.config)


@pytest.fixture(scope="module")
def servers(shared_servers: Servers) -> Iterator[Servers]:
    """The same servers, for the deployments of one file."""
    own = Servers(shared_servers.home, shared_servers.addresses)
    yield own
    own.delete_topics()
