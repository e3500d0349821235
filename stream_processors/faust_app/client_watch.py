"""Monitors the Kafka client and the event loop of a worker.

Faust starts its own tasks only when partitions are assigned, so this is a thread, which also works
in a worker without partitions.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from threading import Event, Thread
from typing import Any, Final

import faust

from schemas.errors import AccessRefused, ClientEnded

WATCH_SECONDS: Final = 1.0

log = logging.getLogger(__name__)


def watch(app: faust.App, beat: Callable[[], None]) -> None:
    """Starts to monitor an app, in a thread that ends with the app.

    Ends the process with `ClientEnded` when a background task of the Kafka client has ended, and
    with `AccessRefused` when the broker refuses the client.

    Args:
        app: An app with a `stream_processors.faust_app.fetching.HoldingConsumer`.
        beat: Called by the app's event loop once a second while the loop runs.
    """
    Thread(target=_watch, args=(app, beat), name="watch", daemon=True).start()


def _watch(app: Any, beat: Callable[[], None]) -> None:
    pause = Event()
    while not pause.wait(WATCH_SECONDS) and not app.should_stop:
        consumer = app._consumer  # noqa: SLF001 - the public name would create one
        if consumer is None:
            continue
        with contextlib.suppress(RuntimeError):  # the event loop and the app have ended
            app.loop.call_soon_threadsafe(beat)
            error = consumer.ended()
            if isinstance(error, AccessRefused) and not app.should_stop:
                log.critical("ends: %s", error)
                os._exit(error.exit_code)
            if error is not None and not app.should_stop:
                log.critical("the sequencer ends: a task of the Kafka client ended: %r", error)
                os._exit(ClientEnded.exit_code)
