"""One sink in one process: ``python -m sinks message|sync|search|push|webhooks``.

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
from threading import Event, Thread
from typing import Final

from backends.processes.logs import configure_logs
from backends.stages.webhook_log import WEBHOOKS_STAGE
from schemas.errors import ConfigurationError, FatalFailure
from schemas.settings import Settings, load_settings
from sinks.assembly import STAGES, run_stage

_COLLECT_AFTER: Final = 100_000
"""Allocations between two runs of the garbage collector. A batch has some 100,000 objects without
cycles, so a run on them would find no garbage."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

_logger = logging.getLogger("sinks")


def main() -> int:
    """Runs one sink; returns the exit code, 0 after a regular end."""
    parser = argparse.ArgumentParser(prog="python -m sinks", description=__doc__)
    parser.add_argument("stage", choices=[*sorted(STAGES), WEBHOOKS_STAGE])
    stage = parser.parse_args().stage
    configure_logs(stage if stage == WEBHOOKS_STAGE else f"sink-{stage}")
    gc.set_threshold(_COLLECT_AFTER)
    try:
        _run(stage, load_settings(), _stop_on_signal())
    except (FatalFailure, ConfigurationError) as error:
        _logger.error("ends: %s", error)  # noqa: TRY400 - the message is enough
        return error.exit_code
    except Exception as error:
        _logger.exception("ends by %s", type(error).__name__)  # without the error's text
        return FatalFailure.exit_code
    return 0


def _run(stage: str, settings: Settings, stop: Event) -> None:
    if stage == WEBHOOKS_STAGE:
        # The client libraries of HTTP take time and memory that the other sinks do not need.
        from sinks.webhooks.webhook_stage import run_webhooks  # noqa: PLC0415

        run_webhooks(settings, stop)
    else:
        run_stage(stage, settings, stop)


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
