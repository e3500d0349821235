"""Kafka, Cassandra and Elasticsearch in containers, by testcontainers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import docker
from docker.errors import DockerException
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import HttpWaitStrategy, LogMessageWaitStrategy

from devstack.artifacts import CASSANDRA, ELASTICSEARCH, KAFKA
from devstack.ports import free_ports
from tests.support.servers import HOME, Servers

_DOCKER_SOCKET: Final = Path("/var/run/docker.sock")
_ENGINE_SECONDS: Final = 3
_READY_SECONDS: Final = 180

_KAFKA_SETTINGS: Final = {
    "KAFKA_NODE_ID": "1",
    "KAFKA_PROCESS_ROLES": "broker,controller",
    "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
    "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
    "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
    "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    "KAFKA_LOG_RETENTION_CHECK_INTERVAL_MS": "2000",
}
_ELASTICSEARCH_SETTINGS: Final = {
    "discovery.type": "single-node",
    "xpack.security.enabled": "false",
    "action.auto_create_index": "false",
    "cluster.routing.allocation.disk.threshold_enabled": "false",
    "ES_JAVA_OPTS": "-Xms512m -Xmx512m",
}


def docker_answers() -> bool:
    """Whether a Docker engine is available."""
    if not os.environ.get("DOCKER_HOST") and not _DOCKER_SOCKET.exists():
        return False  # the client would fail in the same way, and leak a socket
    try:
        client = docker.from_env(timeout=_ENGINE_SECONDS)
        try:
            return bool(client.ping())
        finally:
            client.close()
    except DockerException:
        return False


@contextmanager
def container_servers() -> Iterator[Servers]:
    """One container for each server, started in parallel and removed at the end."""
    kafka, cassandra, elasticsearch = free_ports(3)
    containers = [_kafka(kafka), _cassandra(cassandra), _elasticsearch(elasticsearch)]
    with ExitStack() as started, ThreadPoolExecutor(len(containers)) as pool:
        for container in containers:
            started.callback(container.stop)
        list(pool.map(DockerContainer.start, containers))
        yield Servers(
            HOME / "test" / "containers",
            {
                "kafka_bootstrap": f"127.0.0.1:{kafka}",
                "cassandra_hosts": f"127.0.0.1:{cassandra}",
                "elasticsearch_url": f"http://127.0.0.1:{elasticsearch}",
            },
        )


def _kafka(port: int) -> DockerContainer:
    # The broker's advertised address contains the port on the host.
    advertised = {"KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}"}
    return (
        DockerContainer(f"apache/kafka:{KAFKA.version}")
        .with_bind_ports(9092, port)
        .with_envs(**_KAFKA_SETTINGS, **advertised)
        .waiting_for(_log("Kafka Server started"))
    )


def _cassandra(port: int) -> DockerContainer:
    return (
        DockerContainer(f"cassandra:{CASSANDRA.version}")
        .with_bind_ports(9042, port)
        .with_envs(MAX_HEAP_SIZE="1G", HEAP_NEWSIZE="256M")
        .waiting_for(_log("Startup complete"))
    )


def _elasticsearch(port: int) -> DockerContainer:
    image = f"docker.elastic.co/elasticsearch/elasticsearch:{ELASTICSEARCH.version}"
    ready = HttpWaitStrategy(9200, "/_cluster/health").for_status_code(200)
    return (
        DockerContainer(image)
        .with_bind_ports(9200, port)
        .with_envs(**_ELASTICSEARCH_SETTINGS)
        .waiting_for(ready.with_startup_timeout(_READY_SECONDS))
    )


def _log(message: str) -> LogMessageWaitStrategy:
    strategy = LogMessageWaitStrategy(message)
    strategy.with_startup_timeout(_READY_SECONDS)
    return strategy
