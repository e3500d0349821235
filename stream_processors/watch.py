"""Looks after the parts of a worker that nobody else looks after.

Faust starts its own tasks only when partitions are assigned, so this is a thread: it also works in
a worker that never gets any.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from threading import Event, Thread
from typing import Any, Final

import faust

from schemas.errors import ClientEnded

WATCH_SECONDS: Final = 1.0

log = logging.getLogger(__name__)


def watch(app: faust.App, beat: Callable[[], None]) -> None:
    """Starts to look after an app, in a thread that ends with the app.

    Ends the process with `ClientEnded` when a background task of the Kafka client has ended.

    Args:
        app: Has a `stream_processors.fetching.HoldingConsumer`.
        beat: Is run by the app's event loop once a second, if that runs.
    """
    Thread(target=_watch, args=(app, beat), name="watch", daemon=True).start()


def _watch(app: Any, beat: Callable[[], None]) -> None:
    pause = Event()
    while not pause.wait(WATCH_SECONDS) and not app.should_stop:
        consumer = app._consumer  # noqa: SLF001 - the public name would make one
        if consumer is None:
            continue
        with contextlib.suppress(RuntimeError):  # an event loop that has ended: so has the app
            app.loop.call_soon_threadsafe(beat)
            error = consumer.ended()
            if error is not None and not app.should_stop:
                log.critical("the sequencer ends: a task of the Kafka client ended: %r", error)
                os._exit(ClientEnded.exit_code)
