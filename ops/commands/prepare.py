"""`im prepare`."""

from __future__ import annotations

from ops.console import Json, emit, progress
from ops.deployment.prepare_servers import prepare_all
from ops.deployment.running import live_settings, make_home, secret_file


def prepare(*, json: Json = False) -> None:
    """Create the topics, tables, index and signing secret that are missing."""
    settings = live_settings()
    make_home(settings)
    with progress("preparing") as report:
        prepare_all(settings, report)
    secret_file(settings)
    if json:
        emit({"prepared": settings.namespace})
