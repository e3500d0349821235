"""Probe each part of a deployment, each within `PROBE_SECONDS`.

An open port proves little: the server behind the port may refuse our credentials, may hang, or may
be another program.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Final, TypeAlias

from confluent_kafka import KafkaException

from backends.cassandra.session import cassandra_session
from backends.cassandra.store_listener import OPTIONS_FRAME, is_cassandra, store_fault
from backends.elasticsearch.index import clear_failures, elasticsearch_client
from backends.kafka.clients import admin_client
from backends.kafka.kafka_security import failure_of
from ops.deployment.endpoints import endpoints, gateway_address
from schemas.errors import AccessRefused, ImError
from schemas.settings import Settings

PROBE_SECONDS: Final = 3.0

Probe: TypeAlias = Callable[[Settings], str | None]
"""Returns the reason why a part does not work; None if the part works."""


def part_troubles(settings: Settings, stopped: Collection[str] = ()) -> dict[str, str | None]:
    """The reason why each part does not work, by name of the part; None for a part that works.

    Args:
        settings: The deployment.
        stopped: Parts that are known to be stopped. They are not contacted.
    """
    where = endpoints(settings)
    with ThreadPoolExecutor(len(_PROBES)) as pool:
        asked = {
            part: pool.submit(probe, settings)
            for part, probe in _PROBES.items()
            if part not in stopped
        }
        troubles = {part: answer.result() for part, answer in asked.items()}
    return {part: troubles.get(part, "it was stopped; `im up` starts it") for part in where}


def _kafka(settings: Settings) -> str | None:
    try:
        admin_client(settings).list_topics(timeout=PROBE_SECONDS)
    except KafkaException as error:
        failure = failure_of(settings, error)
        if isinstance(failure, AccessRefused):
            return str(failure)
        return f"Kafka does not answer at {settings.kafka_bootstrap}"
    return None


def _cassandra(settings: Settings) -> str | None:
    if settings.cassandra_user or settings.cassandra_tls:
        return _cassandra_access(settings)
    hosts, port = settings.cassandra_contact_points
    if any(_speaks_cassandra(host, port) for host in hosts):
        return None
    return store_fault(settings) or f"Cassandra does not answer at {settings.cassandra_hosts}"


def _cassandra_access(settings: Settings) -> str | None:
    """The reason why the driver makes no connection. Much slower than `_speaks_cassandra`."""
    try:
        with cassandra_session(settings, PROBE_SECONDS):
            return None
    except ImError as error:
        return str(error)


def _speaks_cassandra(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), PROBE_SECONDS) as connection:
            connection.sendall(OPTIONS_FRAME)
            return is_cassandra(connection.recv(1))
    except OSError:
        return False


def _elasticsearch(settings: Settings) -> str | None:
    try:
        with elasticsearch_client(settings, PROBE_SECONDS) as client, clear_failures(settings):
            answer = client.cluster.health().body
    except ImError as error:
        return str(error)
    if isinstance(answer, dict) and "cluster_name" in answer:
        return None
    return f"the program at {endpoints(settings)['elasticsearch']} is not Elasticsearch"


def gateway_trouble(settings: Settings) -> str | None:
    """The reason why the gateway, or a server behind it, does not work; None if all work."""
    where = gateway_address(settings)
    connection = http.client.HTTPConnection(where, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return f"the gateway does not answer at {where}"
    finally:
        connection.close()
    return (
        None if status == HTTPStatus.OK else f"the gateway at {where} answers with status {status}"
    )


_PROBES: Final[dict[str, Probe]] = {
    "kafka": _kafka,
    "cassandra": _cassandra,
    "elasticsearch": _elasticsearch,
    "gateway": gateway_trouble,
}
