"""Start and stop a whole deployment on this machine: servers, topics, tables, processes."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from backends.processes.file_lock import file_lock
from backends.stages.webhook_log import WEBHOOKS_STAGE
from devstack import ports
from devstack.progress import ReportStep
from devstack.servers import Server, all_servers
from devstack.settings import DevstackSettings
from devstack.stack import Stack
from ops.deployment.endpoints import accepts_connections, endpoints
from ops.deployment.prepare_servers import prepare_all
from ops.deployment.readiness import await_pipeline
from ops.deployment.running import (
    RunningStack,
    as_environment,
    forget_running,
    make_home,
    read_running,
    secret_file,
    write_running,
)
from ops.deployment.stages import GATEWAY_PROGRAM, idle_programs, programs
from schemas.environment import explain, variable
from schemas.errors import ConfigurationError, ServerUnavailable
from schemas.settings import Settings, load_settings

_GIVEN: Final = {
    "kafka": "IM_KAFKA_BOOTSTRAP",
    "cassandra": "IM_CASSANDRA_HOSTS",
    "elasticsearch": "IM_ELASTICSEARCH_URL",
}
"""A server whose variable is set is external: `im up` uses the server and does not start it."""


_SECRETS: Final = frozenset({"IM_JWT_SECRET", "IM_JWT_SECRET_FILE"})


_FREE_PORTS: Final = {variable("metrics_port"): "0"}
"""The processes share this machine, so each serves its metrics at a port of its own."""


class LocalDeployment(NamedTuple):
    """What `im up` starts. ``settings`` includes the addresses of the started servers."""

    settings: Settings
    machine: DevstackSettings
    stack: Stack

    @property
    def environment(self) -> dict[str, str]:
        """The variables that describe the deployment, without the secret."""
        return as_environment(self.machine) | as_environment(self.settings)


def deployment(report: ReportStep, **defaults: Any) -> LocalDeployment:
    """The deployment that the environment describes.

    Args:
        report: Receives each step.
        defaults: Settings that count unless the environment has them.

    Raises:
        ConfigurationError: A variable is out of range or unknown.
    """
    machine = _machine()
    servers = [each for each in all_servers(machine) if not os.environ.get(_GIVEN[each.name])]
    given = {name: value for name, value in defaults.items() if variable(name) not in os.environ}
    settings = load_settings(given | _addresses(servers) | {"home": machine.root})
    make_home(settings)
    return LocalDeployment(settings, machine, Stack(machine, servers, report))


def start_deployment(report: ReportStep, **defaults: Any) -> tuple[Settings, bool]:
    """Start everything and wait until a message can be sent.

    Args:
        report: Receives each step.
        defaults: Settings of a new deployment that the environment does not have.

    Returns:
        The settings of the running deployment, and whether this call started it.

    Raises:
        ConfigurationError: The environment describes a deployment that cannot work.
        ServerUnavailable: A part was not ready in time.
    """
    wanted = deployment(report, **defaults)
    settings, _, stack = wanted
    with file_lock(stack.layout.run / "up.lock", "another `im up` is running here"):
        running = read_running(settings.home)
        if running is not None and stack.supervisor.is_running():
            _check_same(running, wanted)
            _restart_the_fallen(wanted, report)
            return settings, False
        try:
            _start(wanted, report)
        except BaseException:
            stack.down()
            raise
        return settings, True


def stop_deployment(report: ReportStep) -> bool:
    """Stop everything that was started here, in whatever state.

    Returns:
        Whether anything was running.
    """
    return deployment(report).stack.down()


def _start(wanted: LocalDeployment, report: ReportStep) -> None:
    settings, _, stack = wanted
    forget_running(settings.home)
    stack.clear()
    ports.check_free({"IM_GATEWAY_PORT": settings.gateway_port})
    _check_given(wanted)
    processes = programs(settings, secret_file(settings))
    stack.up(processes, _process_environment(wanted))
    prepare_all(settings, report)
    stack.supervisor.start(*{program.name for program in processes} - idle_programs(settings))
    report("waiting for the processes")
    await_pipeline(settings, stack.supervisor)
    started_at = time.time_ns() // 1_000_000
    write_running(
        settings.home,
        RunningStack(
            environment=wanted.environment,
            started_at=started_at,
            owned=[*stack.servers, GATEWAY_PROGRAM],
        ),
    )


def _restart_the_fallen(wanted: LocalDeployment, report: ReportStep) -> None:
    """Start the programs again that the supervisor no longer restarts."""
    supervisor = wanted.stack.supervisor
    down = {process.program for process in supervisor.processes() if process.is_down}
    fallen = down - {WEBHOOKS_STAGE}
    if fallen:
        report(f"starting again: {', '.join(sorted(fallen))}")
        supervisor.start(*fallen)
        for name in fallen & wanted.stack.servers.keys():
            wanted.stack.await_ready(name)
        await_pipeline(wanted.settings, supervisor)
    if WEBHOOKS_STAGE in down:
        supervisor.start(*{WEBHOOKS_STAGE} - idle_programs(wanted.settings))


def _check_given(wanted: LocalDeployment) -> None:
    where = endpoints(wanted.settings)
    for name in _GIVEN.keys() - wanted.stack.servers.keys():
        if not accepts_connections(where[name]):
            raise ServerUnavailable(f"nothing answers at {where[name]}, see {_GIVEN[name]}")


def _check_same(running: RunningStack, wanted: LocalDeployment) -> None:
    for name, value in wanted.environment.items():
        there = running.environment.get(name)
        if name in os.environ and there != value:
            raise ConfigurationError(
                f"already running with {name}={there}, not {value}: run `im down` first"
            )


def _process_environment(wanted: LocalDeployment) -> dict[str, str]:
    """The environment of every process. The secret of tokens is not in it."""
    inherited = {name: value for name, value in os.environ.items() if name not in _SECRETS}
    return inherited | wanted.environment | _FREE_PORTS


def _machine() -> DevstackSettings:
    try:
        return DevstackSettings()
    except ValidationError as error:
        raise ConfigurationError(explain(error, DevstackSettings)) from None


def _addresses(servers: Sequence[Server]) -> dict[str, Any]:
    field = {
        "kafka": "kafka_bootstrap",
        "cassandra": "cassandra_hosts",
        "elasticsearch": "elasticsearch_url",
    }
    scheme = {"elasticsearch": "http://"}
    return {field[each.name]: scheme.get(each.name, "") + each.address for each in servers}
