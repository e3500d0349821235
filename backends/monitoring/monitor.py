"""Adds metrics, liveness and readiness to a process: one call at its start.

    with monitored(settings, "sink-message") as monitor:
        monitor.health.live_while(…)
        monitor.health.ready_while(kafka=kafka_check(admin, settings), …)
        monitor.health.begun()

Metrics are made with `monitor.registry` (`backends.monitoring.instruments`) from declarations in
`backends.monitoring.metric_catalog`.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from prometheus_client import CollectorRegistry, ProcessCollector

from backends.monitoring.instruments import ReadGauge
from backends.monitoring.metric_catalog import READY
from backends.monitoring.operators_server import operators_server
from backends.monitoring.process_health import HEALTH_CHECK_SECONDS, HealthCheck, ProcessHealth
from schemas.errors import ConfigurationError
from schemas.settings import Settings
from schemas.topics import Topic

_NAME: Final = "SUPERVISOR_PROCESS_NAME"
"""The variable in which supervisord names a process, such as ``sequencer-0``."""

log = logging.getLogger(__name__)


class Monitor(NamedTuple):
    """The metrics and the health of this process. ``stage``: the kind of the process."""

    stage: str
    registry: CollectorRegistry
    health: ProcessHealth


@contextlib.contextmanager
def monitored(settings: Settings, stage: str) -> Iterator[Monitor]:
    """Serves the metrics, the liveness and the readiness of this process.

    Args:
        settings: The deployment, with the address of the server.
        stage: The kind of the process: the label ``stage`` of its metrics.

    Raises:
        ConfigurationError: The server cannot listen on the address.
    """
    monitor = Monitor(stage, new_registry(), ProcessHealth())
    health, registry = monitor.health, monitor.registry
    ReadGauge(registry, READY, lambda: health.readiness().is_ready, {"stage": stage})
    host, port = settings.metrics_host, settings.metrics_port
    with contextlib.ExitStack() as stack:
        try:
            bound = stack.enter_context(operators_server(host, port, registry, health))
        except OSError as error:
            raise ConfigurationError(
                f"cannot serve metrics at {host}:{port} ({error.strerror}): set IM_METRICS_HOST "
                "or IM_METRICS_PORT"
            ) from error
        log.info("metrics, liveness and readiness at http://%s:%d", host, bound)
        if not port:
            stack.enter_context(_announced(settings, stage, f"{host}:{bound}"))
        yield monitor


def unserved_monitor(stage: str) -> Monitor:
    """A monitor without a server, for a process that a test starts."""
    return Monitor(stage, new_registry(), ProcessHealth())


def new_registry() -> CollectorRegistry:
    """A registry with the metrics of the operating system about this process."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


def metrics_folder(settings: Settings) -> Path:
    """The folder with a file for each process whose port is not fixed.

    The files have the format of Prometheus's ``file_sd_configs``.
    """
    return settings.home / "metrics"


def kafka_check(admin: AdminClient, settings: Settings) -> HealthCheck:
    """Checks that a broker answers."""
    topic = settings.topic(Topic.MESSAGES)

    def check() -> str | None:
        try:
            admin.list_topics(topic, timeout=HEALTH_CHECK_SECONDS)
        except KafkaException:
            return "Kafka does not answer"
        return None

    return check


@contextlib.contextmanager
def _announced(settings: Settings, stage: str, address: str) -> Iterator[None]:
    """Names the address in a file, until the end of the block. A killed process leaves its file.

    Prometheus reports the process of such a file as down, until the next process replaces it.
    """
    name = os.environ.get(_NAME) or f"{stage}-{os.getpid()}"
    file = metrics_folder(settings) / f"{name}.json"
    targets = [{"targets": [address], "labels": {"process": name}}]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_suffix(f".{os.getpid()}.new")
        new.write_bytes(msgspec.json.encode(targets))
        new.replace(file)
    except OSError as error:
        log.warning("the address of the metrics is not in %s: %s", file, error.strerror)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)
