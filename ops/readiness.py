"""Waits until the processes of a deployment do their work."""

from __future__ import annotations

from typing import Final

from confluent_kafka.admin import AdminClient

from backends.kafka import admin_client
from devstack.processes import wait_until
from devstack.stack import last_words
from devstack.supervision import Supervisor
from ops.health import members_if_assigned
from ops.probes import gateway_trouble
from ops.stages import GATEWAY, SEQUENCER, SOURCES
from schemas.errors import ServerUnavailable
from schemas.settings import Settings

READY_SECONDS: Final = 60.0
_RESTARTS: Final = 3
"""A process that ended more often before it was ever ready will not be."""


def await_pipeline(settings: Settings, supervisor: Supervisor) -> None:
    """Waits until every stage has its partitions and the gateway serves.

    Raises:
        ServerUnavailable: One does not in time, or ends again and again; the message ends with
            its last words.
    """
    waiting = {*SOURCES, GATEWAY}
    admin = admin_client(settings)

    def settled() -> bool:
        waiting.difference_update([each for each in waiting if _is_ready(admin, settings, each)])
        return not waiting or bool(_hopeless(supervisor, waiting))

    wait_until(settled, READY_SECONDS)
    if waiting:
        culprit = min(_hopeless(supervisor, waiting) or waiting)
        log = next(p.log for p in supervisor.processes() if p.program == culprit)
        raise ServerUnavailable(f"{culprit} does not become ready; {last_words(log)}")


def gateway_serves(settings: Settings) -> bool:
    """Whether the gateway says that it and what it needs are well."""
    return gateway_trouble(settings) is None


def _is_ready(admin: AdminClient, settings: Settings, program: str) -> bool:
    if program == GATEWAY:
        return gateway_serves(settings)
    wanted = settings.workers if program == SEQUENCER else 1
    try:
        return members_if_assigned(admin, settings, program) >= wanted
    except ServerUnavailable:
        return False  # a fresh broker has no coordinator for groups yet


def _hopeless(supervisor: Supervisor, programs: set[str]) -> set[str]:
    return {
        process.program
        for process in supervisor.processes()
        if process.program in programs and (process.is_down or process.restarts > _RESTARTS)
    }
