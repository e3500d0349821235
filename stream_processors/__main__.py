"""`python -m stream_processors`: one sequencer worker, configured by the environment.

Run as many as there are partitions; each takes its share.
"""

from __future__ import annotations

import gc
import logging
import sys
from threading import Event
from typing import Final

import faust

from backends.deployment_watch import DeploymentWatch, await_deployment
from backends.minutely import LibraryFilter
from schemas.errors import FatalFailure
from schemas.settings import load_settings
from stream_processors.app import make_app

_SWITCH_SECONDS: Final = 0.03
"""How long a lane may compute while another thread waits for the interpreter.

With Python's default, 5 ms, lanes and fetching take it from each other in the middle of their
work, and find their data gone from the processor's cache: a tenth to a fifth fewer messages/s.
It matters under full load alone, and heartbeats have seconds.
"""

_COLLECT_AFTER: Final = 1_000_000
"""Objects made and not yet let go before Python looks for cycles among them. There are hardly
any here, and records that wait for their lane would have it look all the time."""


log = logging.getLogger("stream_processors")


def main() -> None:
    """Runs until SIGTERM or SIGINT. Any failure ends the process; a supervisor restarts it."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(LibraryFilter(("aiokafka", "faust", "mode")))
    logging.getLogger("faust").setLevel(logging.ERROR)
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    # Faust's own words, under the name of the module that subclasses it.
    logging.getLogger("stream_processors.fetching").setLevel(logging.ERROR)
    sys.setswitchinterval(_SWITCH_SECONDS)
    settings = load_settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    try:
        deployment = await_deployment(settings, Event())
    except FatalFailure as failure:
        log.critical("ends: %s", failure)
        sys.exit(failure.exit_code)
    assert deployment is not None  # noqa: S101 - nobody sets the event
    watch = DeploymentWatch(settings, deployment)
    app = make_app(settings, watch.look)
    watch.start()
    gc.freeze()  # all that was imported
    gc.set_threshold(_COLLECT_AFTER)
    worker = faust.Worker(app, loglevel=None, override_logging=False, quiet=True)
    worker.execute_from_commandline()


if __name__ == "__main__":
    main()
