"""`im up` and `im down`."""

from __future__ import annotations

from ops.console import Json, emit, out, progress
from ops.deployment import deployed_stack
from ops.deployment.endpoints import endpoints


def up(*, json: Json = False) -> None:
    """Start servers and processes in the background, and wait until a message can be sent."""
    with progress("starting") as report:
        settings, started = deployed_stack.start_deployment(report)
    where = endpoints(settings)
    if json:
        emit({"started": started, **where})
        return
    out.print("started" if started else "already running")
    for part, address in where.items():
        out.print(f"  {part:<14} {address}")


def down(*, json: Json = False) -> None:
    """Stop everything that `im up` started."""
    with progress("stopping") as report:
        stopped = deployed_stack.stop_deployment(report)
    if json:
        emit({"stopped": stopped})
    else:
        out.print("stopped" if stopped else "nothing is running")
