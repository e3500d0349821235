"""What runs, how far it is behind, and where it is."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct
from rich.console import Group
from rich.table import Table

from backends.kafka import admin_client
from devstack.layout import Layout
from devstack.supervision import ProcessState, Supervisor
from ops.endpoints import accepts, endpoints
from ops.health import StageHealth, pipeline_health
from ops.stages import SINKS
from schemas.errors import ServerUnavailable
from schemas.settings import Settings

_UP: Final = {True: "[green]up[/]", False: "[red]down[/]"}


class Status(Struct, frozen=True, kw_only=True):
    """One look at a deployment.

    ``up`` tells of each part whether it accepts connections. ``lag`` and ``stages`` are empty
    where Kafka cannot be asked, and ``trouble`` says why. ``delay_ms`` is from send to stored in
    the slowest sink, for the newest message; None before the first.
    """

    kafka: str
    cassandra: str
    elasticsearch: str
    gateway: str
    namespace: str
    up: dict[str, bool]
    processes: list[dict[str, Any]]
    stages: dict[str, StageHealth]
    lag: dict[str, int]
    delay_ms: int | None
    trouble: str | None
    healthy: bool


def look(settings: Settings) -> Status:
    """Asks every part, each within a bound."""
    where = endpoints(settings)
    up = {part: accepts(address) for part, address in where.items()}
    processes = _processes(settings)
    stages, trouble = _stages(settings) if up["kafka"] else ({}, "Kafka is down")
    return Status(
        **where,
        namespace=settings.namespace,
        up=up,
        processes=[_shown(process) for process in processes],
        stages=stages,
        lag={name: stage.lag for name, stage in stages.items()},
        delay_ms=slowest_sink(stages),
        trouble=trouble,
        healthy=is_healthy(up, processes, stages),
    )


def slowest_sink(stages: dict[str, StageHealth]) -> int | None:
    """The delay from send to stored everywhere, in ms, of the newest message."""
    delays = [stages[sink].delay_ms for sink in SINKS if sink in stages]
    return max((delay for delay in delays if delay is not None), default=None)


def is_healthy(
    up: dict[str, bool], processes: list[ProcessState], stages: dict[str, StageHealth]
) -> bool:
    """Whether every part answers, every process runs and every partition is taken care of."""
    return (
        all(up.values())
        and all(process.state == "RUNNING" for process in processes)
        and bool(stages)
        and all(stage.assigned for stage in stages.values())
    )


def table(status: Status) -> Group:
    """The same for a person."""
    trouble = [status.trouble] if status.trouble else []
    return Group(_parts(status), _process_table(status), _stage_table(status), *trouble)


def _processes(settings: Settings) -> list[ProcessState]:
    try:
        return Supervisor(Layout(settings.home.absolute())).processes()
    except ServerUnavailable:
        return []


def _stages(settings: Settings) -> tuple[dict[str, StageHealth], str | None]:
    try:
        return pipeline_health(admin_client(settings), settings), None
    except ServerUnavailable as error:
        return {}, str(error)


def _shown(process: ProcessState) -> dict[str, Any]:
    return process._asdict() | {"log": str(process.log)}


def _parts(status: Status) -> Table:
    parts = Table("part", "address", "", box=None, title=f"deployment {status.namespace}")
    for part, is_up in status.up.items():
        parts.add_row(part, getattr(status, part), _UP[is_up])
    return parts


def _process_table(status: Status) -> Table:
    processes = Table("process", "state", "pid", "up for", "restarts", box=None)
    for process in status.processes:
        running = process["state"] == "RUNNING"
        processes.add_row(
            process["name"],
            process["state"] if running else f"[red]{process['state']}[/] {process['detail']}",
            str(process["pid"] or ""),
            f"{process['uptime_seconds']} s" if running else "",
            str(process["restarts"]),
        )
    return processes


def _stage_table(status: Status) -> Table:
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
