"""The errors of the Cassandra driver, which have no common parent."""

from __future__ import annotations

from typing import Final

from cassandra import DriverException, OperationTimedOut, RequestExecutionException, protocol
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionBusy, ConnectionException
from cassandra.pool import NoConnectionsAvailable

TRANSIENT_ERRORS: Final[tuple[type[Exception], ...]] = (
    NoHostAvailable,  # no server is reachable, or each server failed
    NoConnectionsAvailable,  # the connections of a server are closed or full
    ConnectionException,  # a connection was lost
    ConnectionBusy,  # a connection has its maximum of requests in flight
    OperationTimedOut,  # no response within the timeout of the request
    RequestExecutionException,  # timeouts between servers, too few replicas, a failed replica
    protocol.RequestExecutionException,  # errors without a class in the driver, such as overload
    protocol.ServerError,  # a fault inside the server
)
"""Errors that a retry may solve. All requests of this project are idempotent.

Any other error is a refusal, such as `cassandra.InvalidRequest`: a retry gives the same result.
"""

DRIVER_ERRORS: Final[tuple[type[Exception], ...]] = (DriverException, *TRANSIENT_ERRORS)
"""All errors by which the driver reports that a request failed."""
