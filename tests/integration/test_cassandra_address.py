"""Cassandra's only node gets another address under the same name, or answers slowly."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Final

import pytest
from cassandra.cluster import Session

from backends.cassandra.session import cassandra_session
from backends.cassandra.tables import create_tables
from devstack.ports import free_ports
from gateway.store.cassandra_store import CassandraStore
from schemas.settings import Settings
from tests.conftest import Servers
from tests.support.forwarding import Forwarder

pytestmark = pytest.mark.servers

NAME: Final = "cassandra.test"
WITHIN_SECONDS: Final = 180.0
SLOW_SECONDS: Final = 2.2
"""More than the driver's default timeout of a query about nodes and schema."""


class Resolver:
    """Resolves one name to a changing address. All other names are resolved normally."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._real = socket.getaddrinfo

    def __call__(self, host: Any, *arguments: Any, **keywords: Any) -> Any:
        return self._real(self.address if host == NAME else host, *arguments, **keywords)


def answers(session: Session) -> bool:
    """Whether a query succeeds now."""
    try:
        session.execute("SELECT release_version FROM system.local", timeout=2)
    except Exception:  # noqa: BLE001 - the driver has many errors
        return False
    return True


async def until_reached(session: Session, store: CassandraStore) -> None:
    """Waits until queries of a sink's session and of the gateway's store succeed."""
    async with asyncio.timeout(WITHIN_SECONDS):
        while not (  # noqa: ASYNC110 - there is no event
            await asyncio.to_thread(answers, session) and await store.reachable()
        ):
            await asyncio.sleep(0.2)


async def use_two_addresses(settings: Settings, resolver: Resolver) -> None:
    """Asserts that a sink's session and the gateway's store survive the change."""
    (port,) = free_ports(1)
    (host,), server_port = settings.cassandra_contact_points
    named = settings.model_copy(update={"cassandra_hosts": f"{NAME}:{port}"})
    before, after = (
        Forwarder(port, host, server_port, address) for address in ("127.0.0.2", "127.0.0.3")
    )
    await before.open()
    store = CassandraStore(named)
    store.start()
    sessions = cassandra_session(named)
    session = await asyncio.to_thread(sessions.__enter__)
    try:
        await until_reached(session, store)
        await before.cut()
        assert not await asyncio.to_thread(answers, session)
        resolver.address = "127.0.0.3"
        await after.open()
        await until_reached(session, store)
    finally:
        await asyncio.to_thread(sessions.__exit__, None, None, None)
        await store.stop()
        await before.cut()
        await after.cut()


def test_a_cassandra_node_is_found_by_name_after_its_address_changed(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same processes reach the new address within a minute, by resolving the name."""
    settings = servers.settings()
    resolver = Resolver("127.0.0.2")
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    with cassandra_session(settings) as session:
        create_tables(session, settings)
    asyncio.run(use_two_addresses(settings, resolver))


async def test_a_slow_node_is_connected(servers: Servers) -> None:
    """A node that needs seconds for each response is not reported as unavailable."""
    settings = servers.settings()
    (port,) = free_ports(1)
    (host,), server_port = settings.cassandra_contact_points
    slow = Forwarder(port, host, server_port)
    slow.delay_seconds = SLOW_SECONDS
    await slow.open()
    sessions = cassandra_session(
        settings.model_copy(update={"cassandra_hosts": f"127.0.0.1:{port}"}), WITHIN_SECONDS
    )
    try:
        session = await asyncio.to_thread(sessions.__enter__)
        assert session.hosts
        await asyncio.to_thread(sessions.__exit__, None, None, None)
    finally:
        await slow.cut()
