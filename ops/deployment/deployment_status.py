"""The state of a deployment: running parts, lag, addresses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from backends.kafka.clients import admin_client
from backends.stages.stage_health import StageHealth, pipeline_health
from backends.stages.stage_names import SINKS
from backends.stages.webhook_log import WEBHOOKS_STAGE
from devstack.layout import Layout
from devstack.supervision import ProcessState, Supervisor
from ops.deployment.endpoints import endpoints
from ops.deployment.open_transactions import OpenTransaction, open_transactions
from ops.deployment.probes import part_troubles
from ops.deployment.process_readings import (
    OutboundState,
    ProcessReading,
    outbound_states,
    read_processes,
)
from ops.deployment.running import stopped_parts
from ops.error_text import tidy
from schemas.errors import ServerUnavailable, WrongDeployment
from schemas.number_types import Milliseconds
from schemas.settings import Settings

_REFUSES_WITHIN_SECONDS: Final = 60
"""A process checks its data within this time after its start, even on a busy machine."""

_UP: Final = {True: "[green]up[/]", False: "[red]down[/]"}


class DeploymentStatus(Struct, frozen=True, kw_only=True):
    """A snapshot of a deployment's state.

    ``up``: whether each part can be used. ``processes``: each has its state, and as ``not_ready``
    the reason if it runs and is not ready. ``lag`` and ``stages`` are empty if Kafka cannot be
    queried. ``outbound``: the deliveries of push and webhooks by kind of receiver; empty if the
    processes run on another machine. ``troubles``: all problems found. ``delay_ms``: delay from
    send to stored in the slowest sink, for the newest message; None before the first message.
    """

    kafka: str
    cassandra: str
    elasticsearch: str
    gateway: str
    namespace: str
    up: dict[str, bool]
    processes: list[dict[str, Any]]
    stages: dict[str, StageHealth]
    outbound: dict[str, OutboundState]
    lag: dict[str, int]
    delay_ms: Milliseconds | None
    open_transactions: list[OpenTransaction]
    troubles: list[str]
    healthy: bool


def read_status(settings: Settings) -> DeploymentStatus:
    """Query every part, each with a timeout."""
    where = endpoints(settings)
    down = _down(settings)
    up = {part: part not in down for part in where}
    processes = _processes(settings)
    readings = read_processes(settings, processes)
    stages, held, kafka = _log(settings) if up["kafka"] else ({}, [], [])
    troubles = [
        *down.values(), *kafka, *troubles_of(processes, stages), *unready(readings),
        *map(str, held),
    ]  # fmt: skip
    return DeploymentStatus(
        **where,
        namespace=settings.namespace,
        up=up,
        processes=[_shown(process, readings.get(process.name)) for process in processes],
        stages=stages,
        outbound=outbound_states(readings.values()),
        lag={name: stage.lag for name, stage in stages.items()},
        delay_ms=slowest_sink(stages),
        open_transactions=held,
        troubles=troubles,
        healthy=not troubles,
    )


def slowest_sink(stages: dict[str, StageHealth]) -> Milliseconds | None:
    """The delay of the newest message from send to stored in every sink, in ms."""
    delays = [stages[sink].delay_ms for sink in SINKS if sink in stages]
    return max((delay for delay in delays if delay is not None), default=None)


def troubles_of(processes: list[ProcessState], stages: dict[str, StageHealth]) -> list[str]:
    """One line for each process that does not run, and each stage with an unowned partition."""
    fallen = [each for each in processes if each.state != "RUNNING" or _refused_lately(each)]
    return [_fallen(each) for each in fallen] + [
        f"{name} has partitions without an owner"
        for name, stage in stages.items()
        if not stage.assigned
    ]


def unready(readings: Mapping[str, ProcessReading]) -> list[str]:
    """One line for each reason why running processes are not ready."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    for name, reading in readings.items():
        if reading.not_ready is not None:
            names[reading.not_ready].append(name)
    return [f"{', '.join(names[reason])} not ready: {reason}" for reason in names]


def _refused_lately(process: ProcessState) -> bool:
    """Whether a running process refused its data a short time ago and may refuse it again."""
    refused = process.last_exit == WrongDeployment.exit_code
    return refused and process.uptime_seconds < _REFUSES_WITHIN_SECONDS


def _fallen(process: ProcessState) -> str:
    line = f"{process.name} is {process.state}, {process.detail}"
    if process.last_exit is None:
        return line
    return f"{line}; exit code {process.last_exit}, see {process.log}"


def status_table(status: DeploymentStatus) -> Group:
    """The status as tables."""
    troubles = [f"[red]{escape(trouble)}[/]" for trouble in status.troubles]
    tables = [_parts(status), _process_table(status), _stage_table(status)]
    if status.outbound:
        tables.append(_outbound_table(status))
    return Group(*tables, *troubles)


def _down(settings: Settings) -> dict[str, str]:
    """The reason for each part that cannot be used, by name of the part."""
    stopped = stopped_parts(settings)
    troubles = part_troubles(settings, stopped)
    return {part: f"{part} is down: {why}" for part, why in troubles.items() if why is not None}


def _processes(settings: Settings) -> list[ProcessState]:
    try:
        processes = Supervisor(Layout(settings.home.absolute())).processes()
    except ServerUnavailable:
        return []
    return [each for each in processes if not _is_idle(each)]


def _is_idle(process: ProcessState) -> bool:
    """Whether nobody has started a program because it has nothing to do."""
    return process.program == WEBHOOKS_STAGE and process.state == "STOPPED"


def _log(
    settings: Settings,
) -> tuple[dict[str, StageHealth], list[OpenTransaction], list[str]]:
    """The stages and the open transactions; a line with the reason if Kafka cannot be queried."""
    admin = admin_client(settings)
    try:
        return pipeline_health(settings), open_transactions(admin, settings), []
    except ServerUnavailable as error:
        return {}, [], [tidy(str(error))]


def _shown(process: ProcessState, reading: ProcessReading | None) -> dict[str, Any]:
    not_ready = None if reading is None else reading.not_ready
    return process._asdict() | {"log": str(process.log), "not_ready": not_ready}


def _parts(status: DeploymentStatus) -> Table:
    parts = Table("part", "address", "", box=None, title=f"deployment {status.namespace}")
    for part, is_up in status.up.items():
        parts.add_row(part, getattr(status, part), _UP[is_up])
    return parts


def _process_table(status: DeploymentStatus) -> Table:
    processes = Table("process", "state", "pid", "up for", "restarts", box=None)
    for process in status.processes:
        state = process["state"]
        running = state == "RUNNING"
        processes.add_row(
            process["name"],
            _state(process),
            str(process["pid"] or ""),
            f"{process['uptime_seconds']} s" if running else "",
            _restarts(process),
        )
    return processes


def _state(process: dict[str, Any]) -> str:
    if process["state"] != "RUNNING":
        return f"[red]{process['state']}[/] {escape(process['detail'])}"
    return "RUNNING" if process["not_ready"] is None else "RUNNING [red]not ready[/]"


def _restarts(process: dict[str, Any]) -> str:
    last = process["last_exit"]
    return str(process["restarts"]) + ("" if last is None else f" (exit code {last})")


def _outbound_table(status: DeploymentStatus) -> Table:
    outbound = Table("deliveries", "repeated now", "dead letters since the start", box=None)
    for receiver, state in status.outbound.items():
        outbound.add_row(receiver, f"{state.retries:,}", f"{state.dead_letters:,}")
    return outbound


def _stage_table(status: DeploymentStatus) -> Table:
    stages = Table("stage", "lag", "delay", "members", "counts", box=None)
    for name, stage in status.stages.items():
        stages.add_row(
            name,
            f"{stage.lag:,}",
            "-" if stage.delay_ms is None else f"{stage.delay_ms:,} ms",
            str(stage.members) if stage.assigned else f"[red]{stage.members}, not assigned[/]",
            " ".join(f"{count} {number:,}" for count, number in stage.counts.items()),
        )
    return stages
