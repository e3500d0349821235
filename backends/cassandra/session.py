"""A session with Cassandra, the same for sinks, gateway and commands."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from cassandra.cluster import (
    EXEC_PROFILE_DEFAULT,
    Cluster,
    ExecutionProfile,
    Session,
)
from cassandra.connection import DefaultEndPoint
from cassandra.policies import (
    ConstantReconnectionPolicy,
    DCAwareRoundRobinPolicy,
    TokenAwarePolicy,
)
from cassandra.query import ConsistencyLevel, tuple_factory

from backends.cassandra.driver_errors import DRIVER_ERRORS
from schemas.errors import ServerUnavailable
from schemas.settings import Settings

CONNECT_SECONDS: Final = 10.0
REQUEST_SECONDS: Final = 20.0
RECONNECT_SECONDS: Final = 1.0

# A quorum read sees every quorum write.
_CONSISTENCY: Final = ConsistencyLevel.LOCAL_QUORUM


@contextmanager
def cassandra_session(settings: Settings) -> Iterator[Session]:
    """A session with rows as tuples, quorum consistency, and reconnection each second.

    A contact point that restarts with another address under the same name is found again.

    Raises:
        ServerUnavailable: No contact point answers.
    """
    hosts, port = settings.cassandra_contact_points
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(
            DCAwareRoundRobinPolicy(local_dc=settings.cassandra_datacenter)
        ),
        consistency_level=_CONSISTENCY,
        request_timeout=REQUEST_SECONDS,
        row_factory=tuple_factory,
    )
    cluster = Cluster(
        # The driver resolves a plain name once, but a name in an endpoint with each connection,
        # so a node may restart with another address.
        [DefaultEndPoint(host, port) for host in hosts],
        port=port,
        protocol_version=5,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        reconnection_policy=ConstantReconnectionPolicy(RECONNECT_SECONDS, max_attempts=None),
        connect_timeout=CONNECT_SECONDS,
        compression=False,  # costs more than it saves near the server
    )
    try:
        yield _connect(cluster, settings)
    finally:
        cluster.shutdown()


def _no_host(settings: Settings) -> ServerUnavailable:
    return ServerUnavailable(
        f"Cassandra does not answer at {settings.cassandra_hosts}, or has no node in data center "
        f"{settings.cassandra_datacenter}: start it (`im up`), or correct IM_CASSANDRA_HOSTS or "
        "IM_CASSANDRA_DATACENTER"
    )


def _connect(cluster: Cluster, settings: Settings) -> Session:
    # The driver logs a traceback for each attempt. The last error is raised anyway.
    logger = logging.getLogger("cassandra")
    logger.setLevel(logging.CRITICAL)
    try:
        session = cluster.connect()
    except DRIVER_ERRORS as error:
        raise _no_host(settings) from error
    finally:
        logger.setLevel(logging.ERROR)
    # Rows without an explicit timestamp get the servers' time. With client timestamps, a sink
    # whose clock is ahead would write rows that the next sink process cannot overwrite.
    session.use_client_timestamp = False
    return session
