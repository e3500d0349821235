"""A session with Cassandra, the same for sinks, gateway and commands."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from cassandra import AuthenticationFailed, Unauthorized
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import (
    EXEC_PROFILE_DEFAULT,
    Cluster,
    ExecutionProfile,
    NoHostAvailable,
    Session,
)
from cassandra.connection import DefaultEndPoint
from cassandra.policies import (
    ConstantReconnectionPolicy,
    DCAwareRoundRobinPolicy,
    TokenAwarePolicy,
)
from cassandra.query import ConsistencyLevel, tuple_factory

from backends.access.tls_context import tls_context
from backends.cassandra.driver_errors import DRIVER_ERRORS
from backends.cassandra.store_listener import store_fault
from schemas.errors import AccessRefused, ImError, ServerUnavailable
from schemas.settings import Settings

CONNECT_SECONDS: Final = 10.0
REQUEST_SECONDS: Final = 20.0
RECONNECT_SECONDS: Final = 1.0
STORE_CHECK_SECONDS: Final = 3.0
"""Timeout of a check whether a node answers."""

_CONSISTENCY: Final = {
    # A quorum read sees every quorum write.
    "LOCAL_QUORUM": ConsistencyLevel.LOCAL_QUORUM,
    "QUORUM": ConsistencyLevel.QUORUM,
}

_UNTRUSTED: Final = "certificate verify failed"
"""In the text of an error of TLS, which the driver converts to an error of the system."""

_PASSES_LATER: Final = "Unable to perform authentication"
"""In the text of a refusal, if too few replicas of the roles answer the server."""


@contextmanager
def cassandra_session(
    settings: Settings, connect_seconds: float = CONNECT_SECONDS
) -> Iterator[Session]:
    """A session with rows as tuples, quorum consistency, and reconnection each second.

    A contact point that restarts with another address under the same name is found again.

    Args:
        settings: The deployment.
        connect_seconds: Timeout of a connection.

    Raises:
        AccessRefused: The server refuses the credentials or a statement of the block, its
            certificate is not trusted, or one of both sides alone has TLS.
        ConfigurationError: A file of TLS cannot be used.
        ServerUnavailable: No contact point answers.
    """
    hosts, port = settings.cassandra_contact_points
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(
            DCAwareRoundRobinPolicy(local_dc=settings.cassandra_datacenter)
        ),
        consistency_level=_CONSISTENCY[settings.cassandra_consistency],
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
        connect_timeout=connect_seconds,
        # A busy node needs more than the driver's 2 s to list the nodes and the schema.
        control_connection_timeout=connect_seconds,
        compression=False,  # costs more than it saves near the server
        # By default, each session reads the schema of the whole cluster, and again after each
        # change of any keyspace. `read_replication` reads what routing needs.
        schema_metadata_enabled=False,
        schema_event_refresh_window=-1,
        **security_options(settings),
    )
    try:
        yield _connect(cluster, settings)
    except Unauthorized as error:
        raise not_permitted(error) from error
    finally:
        cluster.shutdown()


def read_replication(session: Session, settings: Settings) -> None:
    """Reads the replication of the deployment's keyspace, if the keyspace exists.

    The session then sends each request to a node that has the rows. Without it, any node of the
    data center gets the request, and passes it on.

    Raises:
        cassandra.DriverException: The server does not answer.
    """
    session.cluster.refresh_keyspace_metadata(settings.keyspace, max_schema_agreement_wait=0)


def session_trouble(session: Session) -> str | None:
    """The reason why no node answers a session; None if a node answers. Takes some seconds."""
    try:
        session.execute("SELECT key FROM system.local", timeout=STORE_CHECK_SECONDS)
    except DRIVER_ERRORS:
        return "Cassandra does not answer"
    return None


def security_options(settings: Settings) -> dict[str, Any]:
    """The options of the driver for TLS and credentials.

    Raises:
        ConfigurationError: A file of TLS cannot be used.
    """
    options: dict[str, Any] = {}
    if settings.cassandra_user:
        options["auth_provider"] = PlainTextAuthProvider(
            settings.cassandra_user, settings.cassandra_password.get_secret_value()
        )
    if settings.cassandra_tls:
        options["ssl_context"] = tls_context(settings, "cassandra")
    return options


def not_permitted(error: Unauthorized) -> AccessRefused:
    """The error of the process after a statement that its role may not execute."""
    reason = str(error).rpartition("message=")[2].strip('"')
    return AccessRefused(
        f"Cassandra does not permit a statement ({reason}): `im acl cassandra` has the grants of"
        " each role"
    )


def _failure(settings: Settings, error: Exception) -> ImError:
    """The reason why no connection was made."""
    reasons = error.errors.values() if isinstance(error, NoHostAvailable) else [error]
    for reason in reasons:
        if isinstance(reason, AuthenticationFailed) and _PASSES_LATER not in str(reason):
            return AccessRefused(
                f"Cassandra at {settings.cassandra_hosts} refuses the credentials: correct"
                " IM_CASSANDRA_USER and IM_CASSANDRA_PASSWORD"
            )
        if _UNTRUSTED in str(reason):
            return AccessRefused(
                f"Cassandra at {settings.cassandra_hosts} has no certificate that this client"
                " trusts: correct IM_CASSANDRA_CA_FILE, or the names in IM_CASSANDRA_HOSTS"
            )
    if fault := store_fault(settings):
        return AccessRefused(fault)
    return _no_host(settings)


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
        read_replication(session, settings)
    except DRIVER_ERRORS as error:
        raise _failure(settings, error) from error
    finally:
        logger.setLevel(logging.ERROR)
    # Rows without an explicit timestamp get the servers' time. With client timestamps, a sink
    # whose clock is ahead would write rows that the next sink process cannot overwrite.
    session.use_client_timestamp = False
    return session
