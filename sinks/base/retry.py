"""Waiting for a server that does not answer: for ever, but never deaf to the end."""

from __future__ import annotations

import logging
from threading import Event
from typing import Final

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_random_exponential,
)

from backends.minutely import MinuteLog
from schemas.errors import ServerUnavailable, TransientFailure

FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0
"""A server that is back is used again within this; a dead one is asked no more often."""

_logger = logging.getLogger(__name__)


def attempts(doing: str, stop: Event) -> Retrying:
    """Attempts without end, with random pauses that grow, until one passes or ``stop`` is set.

    An attempt that raises `TransientFailure` or `ServerUnavailable` is made again, and logged at
    most once a minute.
    Anything else is raised at once, and so is the last failure when ``stop`` is set.

    Args:
        doing: What is attempted, for the log.
        stop: Ends the attempts, and a pause at once.
    """
    waiting = MinuteLog(_logger)

    def log(state: RetryCallState) -> None:
        failure = state.outcome.exception() if state.outcome else None
        waiting.tell("%s: %s; attempt %d failed, waiting", doing, failure, state.attempt_number)

    return Retrying(
        retry=retry_if_exception_type((TransientFailure, ServerUnavailable)),
        wait=wait_random_exponential(multiplier=FIRST_PAUSE_SECONDS, max=LONGEST_PAUSE_SECONDS),
        sleep=sleep_using_event(stop),
        stop=stop_when_event_set(stop),
        before_sleep=log,
        reraise=True,
    )
