"""Retries without a limit for a server that does not answer, until the process is stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable
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

from backends.processes.minute_log import MinuteLog
from schemas.errors import RetryableError

FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0
"""Maximum pause between two attempts."""

_logger = logging.getLogger(__name__)


def attempts(doing: str, stop: Event, retried: Callable[[], None] = lambda: None) -> Retrying:
    """Attempts without limit, with growing random pauses, until one succeeds or ``stop`` is set.

    An attempt that raises `RetryableError` is repeated, and logged at
    most once a minute. Any other error is raised at once. The last failure is raised when ``stop``
    is set.

    Args:
        doing: A description of the attempt, for the log.
        stop: Ends the attempts, and a pause at once.
        retried: Called after each failed attempt that is repeated.
    """
    waiting = MinuteLog(_logger)

    def log(state: RetryCallState) -> None:
        retried()
        failure = state.outcome.exception() if state.outcome else None
        waiting.warning("%s: %s; attempt %d failed, waiting", doing, failure, state.attempt_number)

    return Retrying(
        retry=retry_if_exception_type(RetryableError),
        wait=wait_random_exponential(multiplier=FIRST_PAUSE_SECONDS, max=LONGEST_PAUSE_SECONDS),
        sleep=sleep_using_event(stop),
        stop=stop_when_event_set(stop),
        before_sleep=log,
        reraise=True,
    )
