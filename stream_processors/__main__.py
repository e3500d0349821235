"""`python -m stream_processors`: one sequencer worker, configured by the environment.

Run at most one worker for each partition; the workers share the partitions.
"""

from __future__ import annotations

import gc
import logging
import sys
from threading import Event
from typing import Final

import faust

from backends.identity.identity_watch import DeploymentWatch, await_deployment
from backends.monitoring.monitor import Monitor, monitored
from backends.processes.logs import configure_logs
from backends.stages.stage_names import SEQUENCER
from schemas.errors import ConfigurationError, FatalFailure
from schemas.settings import Settings, load_settings
from stream_processors.faust_app.worker_app import make_worker

_SWITCH_SECONDS: Final = 0.03
"""Time for which a lane may compute while another thread waits for the interpreter.

With Python's default of 5 ms, lanes and fetching interrupt each other and lose the data in the
processor's cache: a tenth to a fifth fewer messages/s. The value only matters under full load, and
heartbeats have timeouts of seconds.
"""

_COLLECT_AFTER: Final = 1_000_000
"""Live new objects before a run of the garbage collector. There are hardly any cycles here, and
records that wait for their lane would cause continuous runs."""


log = logging.getLogger("stream_processors")


def main() -> None:
    """Runs until SIGTERM or SIGINT. Any failure ends the process; a supervisor restarts it."""
    configure_logs("sequencer")
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        settings = load_settings()
        settings.home.mkdir(parents=True, exist_ok=True)
        with monitored(settings, SEQUENCER) as monitor:
            _run(settings, monitor)
    except ConfigurationError as error:
        log.critical("ends: %s", error)
        sys.exit(error.exit_code)


def _run(settings: Settings, monitor: Monitor) -> None:
    try:
        deployment = await_deployment(settings, Event())
    except (FatalFailure, ConfigurationError) as failure:
        log.critical("ends: %s", failure)
        sys.exit(failure.exit_code)
    assert deployment is not None  # noqa: S101 - nobody sets the event
    watch = DeploymentWatch(settings, deployment)
    app = make_worker(settings, watch.check, monitor)
    watch.start()
    gc.freeze()  # all imported objects
    gc.set_threshold(_COLLECT_AFTER)
    worker = faust.Worker(app, loglevel=None, override_logging=False, quiet=True)
    worker.spinner = None  # it prints terminal codes, also into a file of log lines
    worker.execute_from_commandline()


if __name__ == "__main__":
    main()
