"""Ends a process when the topics no longer match its deployment."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Final

from backends.identity.log_identity import check_log, check_topics
from backends.kafka.clients import admin_client
from schemas.deployment import Deployment
from schemas.errors import FatalFailure, RetryableError, ServerUnavailable
from schemas.settings import Settings

log = logging.getLogger(__name__)

IDENTITY_CHECK_SECONDS: Final = 5.0
"""Interval of the checks: the longest time that a process runs after a topic was replaced."""

ANSWER_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 1.0
_LOG_SECONDS: Final = 60.0
"""Minimum time between two log lines with the same text."""


def await_deployment(
    settings: Settings,
    stop: Event,
    check: Callable[[Deployment], None] = lambda _: None,
    pause: float = _RETRY_SECONDS,
) -> Deployment | None:
    """Waits until there is a deployment that matches; None if ``stop`` was set before.

    Args:
        settings: The settings of the deployment.
        stop: Ends the wait.
        check: A check in addition to that of the log; raises the errors of `check_log`.
        pause: Seconds between two attempts.

    Raises:
        WrongDeployment: The data does not belong to the deployment.
    """
    logged, logged_at = "", 0.0
    while not stop.is_set():
        try:
            deployment = check_log(settings, ANSWER_SECONDS)
            check(deployment)
        except RetryableError as error:
            if str(error) != logged or time.monotonic() > logged_at + _LOG_SECONDS:
                log.warning("waits: %s", error)
                logged, logged_at = str(error), time.monotonic()
            stop.wait(pause)
        else:
            return deployment
    return None


class DeploymentWatch:
    """Checks the topics every `IDENTITY_CHECK_SECONDS`, in its own thread.

    Args:
        settings: The settings of the deployment.
        deployment: The identity of the deployment at the start of the process.
        end: Called in the thread with the mismatch. Ends the process.
    """

    def __init__(
        self,
        settings: Settings,
        deployment: Deployment,
        end: Callable[[FatalFailure], None] | None = None,
    ) -> None:
        self._admin = admin_client(settings)
        self._deployment = deployment
        self._end = end or end_process
        self._stop = Event()
        self._wake = Event()
        self._thread = Thread(target=self._run, name="deployment-watch", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stops the thread; does not wait for a running check."""
        self._stop.set()
        self._wake.set()

    def check_soon(self) -> None:
        """Makes the thread check now. Does not block."""
        self._wake.set()

    def check(self) -> None:
        """Checks now. A broker that does not answer is not a mismatch.

        Raises:
            WrongDeployment: A topic does not match the deployment.
        """
        try:
            check_topics(self._admin, self._deployment, ANSWER_SECONDS)
        except ServerUnavailable as error:
            log.debug("the topics were not compared: %s", error)

    def _run(self) -> None:
        while True:
            self._wake.wait(IDENTITY_CHECK_SECONDS)
            self._wake.clear()
            if self._stop.is_set():
                return
            try:
                self.check()
            except FatalFailure as failure:
                self._end(failure)
                return


def end_process(failure: FatalFailure) -> None:
    """Logs the failure in one line and ends the process at once, without waiting for threads."""
    log.critical("ends: %s", failure)
    logging.shutdown()
    os._exit(failure.exit_code)
