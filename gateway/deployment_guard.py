"""Sees to it that the gateway answers for one deployment: log, store and index belong together."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from typing import Final

from backends.cassandra import cassandra_session
from backends.deployment_stores import check_index, check_store
from backends.deployment_watch import DeploymentWatch, await_deployment, end_process
from backends.elasticsearch import elasticsearch_client
from schemas.deployment import Deployment
from schemas.errors import FatalFailure
from schemas.settings import Settings

_PAUSE_SECONDS: Final = 5.0
"""Between two attempts. Each connects to three servers."""


class DeploymentGuard:
    """Checks in a thread of its own: at the start, as soon as all servers answer; then the topics.

    Args:
        settings: The deployment.
        end: Called, in that thread, with what does not fit. It ends the process.
    """

    def __init__(
        self, settings: Settings, end: Callable[[FatalFailure], None] = end_process
    ) -> None:
        self._settings = settings
        self._end = end
        self._stop = Event()
        self._watch: DeploymentWatch | None = None
        self._thread = Thread(target=self._run, name="deployment-guard", daemon=True)

    def start(self) -> None:
        """Begins to check."""
        self._thread.start()

    def stop(self) -> None:
        """Ends; does not wait for a check that is under way."""
        self._stop.set()
        if self._watch is not None:
            self._watch.stop()

    def _run(self) -> None:
        try:
            deployment = await_deployment(
                self._settings, self._stop, self._check_stores, _PAUSE_SECONDS
            )
        except FatalFailure as failure:
            self._end(failure)
            return
        if deployment is not None and not self._stop.is_set():
            self._watch = DeploymentWatch(self._settings, deployment, self._end)
            self._watch.start()

    def _check_stores(self, deployment: Deployment) -> None:
        with cassandra_session(self._settings) as session:
            check_store(session, self._settings, deployment)
        with elasticsearch_client(self._settings) as client:
            check_index(client, self._settings, deployment)
