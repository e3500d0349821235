"""Checks that log, store and index belong to one deployment before the gateway serves them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread
from typing import Final

from backends.cassandra.session import cassandra_session
from backends.elasticsearch.index import elasticsearch_client
from backends.identity.identity_watch import DeploymentWatch, await_deployment, end_process
from backends.identity.index_claim import check_index
from backends.identity.store_claim import check_store
from schemas.deployment import Deployment
from schemas.errors import FatalFailure
from schemas.settings import Settings

_PAUSE_SECONDS: Final = 5.0
"""Interval between two attempts. Each attempt connects to two servers."""


@dataclass
class Checked:
    """The data that is verified to belong to the deployment of the topics.

    ``store``: the keyspace; before that no request is served. ``index``: the index; before that no
    search is served. ``deployment``: the id of the deployment; empty before it is known.
    """

    store: bool = False
    index: bool = False
    deployment: str = ""


class DeploymentGuard:
    """Checks in its own thread: the stores once they answer, and then repeatedly the topics.

    ``checked`` has the passed checks. A process that finds the data of another deployment ends.

    Args:
        settings: The settings of the deployment.
        end: Called in the thread with the mismatch. Ends the process.
    """

    def __init__(
        self, settings: Settings, end: Callable[[FatalFailure], None] = end_process
    ) -> None:
        self.checked = Checked()
        self._settings = settings
        self._end = end
        self._stop = Event()
        self._watch: DeploymentWatch | None = None
        self._thread = Thread(target=self._run, name="deployment-guard", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stops the thread; does not wait for a running check."""
        self._stop.set()
        if self._watch is not None:
            self._watch.stop()

    def _run(self) -> None:
        try:
            deployment = self._await(self._check_store)
            if deployment is None:
                return
            self.checked.deployment = deployment.id
            self.checked.store = True
            self._watch = DeploymentWatch(self._settings, deployment, self._end)
            self._watch.start()
            if self._await(self._check_index) is not None:
                self.checked.index = True
        except FatalFailure as failure:
            self._end(failure)

    def _await(self, check: Callable[[Deployment], None]) -> Deployment | None:
        return await_deployment(self._settings, self._stop, check, _PAUSE_SECONDS)

    def _check_store(self, deployment: Deployment) -> None:
        with cassandra_session(self._settings) as session:
            check_store(session, self._settings, deployment)

    def _check_index(self, deployment: Deployment) -> None:
        with elasticsearch_client(self._settings) as client:
            check_index(client, self._settings, deployment)
