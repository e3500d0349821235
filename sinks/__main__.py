"""One sink in one process: ``python -m sinks message|sync|search``.

It waits for its servers as long as that takes, and is ready when its consumer group has members.
SIGTERM and SIGINT end it in order: the batch in flight, the commit, the group.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import signal
import sys
import traceback
from threading import Event, Thread
from typing import Final

from schemas.errors import ConfigurationError, FatalFailure
from schemas.settings import load_settings
from sinks.stages import STAGES, run_stage

_COLLECT_AFTER: Final = 100_000
"""Objects between two runs of the garbage collector. A batch has some 100,000, none in a cycle: a
run that looks through them finds nothing."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

_logger = logging.getLogger("sinks")


def main() -> int:
    """Runs one sink; returns the exit code, 0 after an orderly end."""
    parser = argparse.ArgumentParser(prog="python -m sinks", description=__doc__)
    parser.add_argument("stage", choices=sorted(STAGES))
    stage = parser.parse_args().stage
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    logging.getLogger("elastic_transport").setLevel(logging.ERROR)  # each failure is told once
    gc.set_threshold(_COLLECT_AFTER)
    try:
        run_stage(stage, load_settings(), _stop_on_signal())
    except FatalFailure as error:
        _logger.error("ends: %s", error)  # noqa: TRY400 - it says all; the trace is no news
        return error.exit_code
    except ConfigurationError as error:
        _logger.error("ends: %s", error)  # noqa: TRY400 - the same
        return FatalFailure.exit_code
    except Exception as error:  # noqa: BLE001 - the one place that knows no caller
        # An error's own words may quote a message; its kind and the way to it do not.
        trace = "".join(traceback.format_tb(error.__traceback__))
        _logger.error("ends by %s\n%s", type(error).__name__, trace)  # noqa: TRY400 - the same
        return FatalFailure.exit_code
    return 0


def _stop_on_signal() -> Event:
    """An event that is set when the process is asked to end.

    A thread waits for the signals, whichever thread the system hands them to: libraries have
    threads of their own. A handler of Python would run in the main thread at any moment, also in
    the middle of that thread's own use of the event, whose lock it cannot take twice.
    """
    stop = Event()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    for number in _SIGNALS:
        signal.signal(number, lambda *_: None)

    def wait() -> None:
        os.read(reading, 1)
        stop.set()

    Thread(target=wait, daemon=True, name="signals").start()
    return stop


if __name__ == "__main__":
    sys.exit(main())
