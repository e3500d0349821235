"""Wait until the processes of a deployment are ready."""

from __future__ import annotations

from typing import Final

from confluent_kafka.admin import AdminClient

from backends.kafka.clients import admin_client
from backends.processes.polling import poll_until
from backends.stages.stage_health import members_if_assigned
from backends.stages.stage_names import SEQUENCER, sources_of
from devstack.stack import last_words
from devstack.supervision import Supervisor
from ops.deployment.probes import gateway_trouble
from ops.deployment.process_readings import read_processes
from ops.deployment.stages import GATEWAY_PROGRAM
from schemas.errors import ServerUnavailable
from schemas.settings import Settings

READY_SECONDS: Final = 60.0
_RESTARTS: Final = 3
"""A process with more exits before it is first ready is considered broken."""


def await_pipeline(settings: Settings, supervisor: Supervisor) -> None:
    """Wait until every stage has its partitions, and every process is ready.

    Raises:
        ServerUnavailable: A process is not ready in time, or exits repeatedly; the message ends
            with the last lines of its log.
    """
    waiting = {*sources_of(settings), GATEWAY_PROGRAM}
    admin = admin_client(settings)

    def settled() -> bool:
        waiting.difference_update([each for each in waiting if _is_ready(admin, settings, each)])
        return not waiting or bool(_hopeless(supervisor, waiting))

    def unready() -> dict[str, str]:
        readings = read_processes(settings, supervisor.processes())
        return {name: r.not_ready for name, r in readings.items() if r.not_ready is not None}

    poll_until(settled, READY_SECONDS)
    if waiting:
        culprit = min(_hopeless(supervisor, waiting) or waiting)
        log = next(p.log for p in supervisor.processes() if p.program == culprit)
        raise ServerUnavailable(f"{culprit} does not become ready; {last_words(log)}")
    for name, reason in poll_until(unready, READY_SECONDS, done=lambda found: not found).items():
        raise ServerUnavailable(f"{name} does not become ready: {reason}")


def gateway_serves(settings: Settings) -> bool:
    """Whether the gateway reports that the gateway and its servers work."""
    return gateway_trouble(settings) is None


def _is_ready(admin: AdminClient, settings: Settings, program: str) -> bool:
    if program == GATEWAY_PROGRAM:
        return gateway_serves(settings)
    wanted = settings.workers if program == SEQUENCER else 1
    try:
        return members_if_assigned(admin, settings, program) >= wanted
    except ServerUnavailable:
        return False  # a new broker has no group coordinator yet


def _hopeless(supervisor: Supervisor, programs: set[str]) -> set[str]:
    return {
        process.program
        for process in supervisor.processes()
        if process.program in programs and (process.is_down or process.restarts > _RESTARTS)
    }
