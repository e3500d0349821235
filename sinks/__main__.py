"""One sink in one process: ``python -m sinks message|sync|search``.

The process waits for its servers without a time limit. It is ready when its consumer group has
members. After SIGTERM or SIGINT it finishes the batch in flight, commits, and leaves the group.
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
from sinks.assembly import STAGES, run_stage

_COLLECT_AFTER: Final = 100_000
"""Allocations between two runs of the garbage collector. A batch has some 100,000 objects without
cycles, so a run on them would find no garbage."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

_logger = logging.getLogger("sinks")


def main() -> int:
    """Runs one sink; returns the exit code, 0 after a regular end."""
    parser = argparse.ArgumentParser(prog="python -m sinks", description=__doc__)
    parser.add_argument("stage", choices=sorted(STAGES))
    stage = parser.parse_args().stage
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    logging.getLogger("elastic_transport").setLevel(logging.ERROR)  # the sink logs failures itself
    gc.set_threshold(_COLLECT_AFTER)
    try:
        run_stage(stage, load_settings(), _stop_on_signal())
    except FatalFailure as error:
        _logger.error("ends: %s", error)  # noqa: TRY400 - the message is enough
        return error.exit_code
    except ConfigurationError as error:
        _logger.error("ends: %s", error)  # noqa: TRY400 - the same
        return FatalFailure.exit_code
    except Exception as error:  # noqa: BLE001 - the top of the call stack
        # The text of an error may quote a message; its type and traceback do not.
        trace = "".join(traceback.format_tb(error.__traceback__))
        _logger.error("ends by %s\n%s", type(error).__name__, trace)  # noqa: TRY400 - the same
        return FatalFailure.exit_code
    return 0


def _stop_on_signal() -> Event:
    """An event that is set by SIGTERM and SIGINT.

    A thread waits for the signals, so the thread to which the system delivers a signal does not
    matter. A Python signal handler would run in the main thread at any moment, even while that
    thread holds the event's lock, which it cannot take twice.
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
