"""The identity of a deployment in Cassandra: one row with the id in the table ``deployment``."""

from __future__ import annotations

from typing import Final

import stamina
from cassandra import InvalidRequest
from cassandra.cluster import Session

from backends.cassandra.tables import create_tables
from backends.identity.claims import compare, require_unread
from schemas.deployment import WAY_OUT, Deployment
from schemas.errors import WrongDeployment
from schemas.settings import Settings
from schemas.topics import Topic

_ONLY: Final = 0
"""Key of the one row."""

_VISIBLE_SECONDS: Final = 20.0
"""Time limit for the statements of another process to take effect. A node lists a new keyspace or
table before it accepts statements for it."""

_SINKS: Final = {"sink-message": Topic.TIMELINE, "sink-sync": Topic.SYNC}


def store_id(session: Session, settings: Settings) -> str | None:
    """The id in the keyspace; None if it has none, or there is no such table or keyspace."""
    try:
        row = session.execute(
            f"SELECT id FROM {settings.keyspace}.deployment WHERE only = %s",  # noqa: S608 - a checked name
            (_ONLY,),
        ).one()
    except InvalidRequest:
        return None
    if row is None:
        return None
    (found_id,) = row
    return str(found_id)


def check_store(session: Session, settings: Settings, deployment: Deployment) -> None:
    """Checks that the keyspace belongs to this deployment.

    Raises:
        WrongDeployment: The keyspace belongs to another deployment.
        TransientFailure: The keyspace has no identity: nothing is prepared yet.
    """
    compare(f"keyspace {settings.keyspace}", store_id(session, settings), deployment)


def claim_store(session: Session, settings: Settings, deployment: Deployment) -> None:
    """Creates the missing keyspace and tables, and records the identity if there is none.

    Several processes may do so at the same time.

    Raises:
        WrongDeployment: The keyspace is of another deployment, or its data is gone.
        ConfigurationError: There is a table of an earlier version.
        ServerUnavailable: Kafka does not answer.
        cassandra.InvalidRequest: The server refuses a statement.
    """
    for attempt in stamina.retry_context(
        on=InvalidRequest, attempts=None, timeout=_VISIBLE_SECONDS, wait_max=1.0
    ):
        with attempt:
            _claim(session, settings, deployment)


def _claim(session: Session, settings: Settings, deployment: Deployment) -> None:
    what = f"keyspace {settings.keyspace}"
    claimed = store_id(session, settings)
    if claimed is not None:
        compare(what, claimed, deployment)
    create_tables(session, settings)
    if claimed is not None:
        return
    if session.execute("SELECT conv_id FROM conversation LIMIT 1").one() is not None:
        raise WrongDeployment(f"{what} has data, but of no recorded deployment; {WAY_OUT}")
    require_unread(what, settings, _SINKS, deployment)
    session.execute(
        "INSERT INTO deployment (only, id) VALUES (%s, %s) IF NOT EXISTS", (_ONLY, deployment.id)
    )
    compare(what, store_id(session, settings), deployment)
