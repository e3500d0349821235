"""The identity of a deployment in Cassandra and in Elasticsearch.

| where | what |
|---|---|
| table ``deployment`` | one row with the id |
| index ``<namespace>-deployment`` | one document with the id |

A store without an identity gets the identity of the log, but only if no sink has stored records
yet, which the committed offsets of the sinks show. Otherwise the store has lost data, and a sink
that continued would leave an unnoticed hole.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import msgspec
from cassandra import InvalidRequest
from cassandra.cluster import Session
from confluent_kafka import KafkaException
from elasticsearch import (
    ApiError,
    BadRequestError,
    ConflictError,
    Elasticsearch,
    NotFoundError,
    TransportError,
)
from msgspec import Struct, field

from backends.cassandra import create_tables
from backends.elasticsearch import create_index, describe
from backends.groups import group_places
from backends.index_checks import check_indices
from backends.kafka import admin_client
from backends.shards import places_of
from schemas.deployment import WAY_OUT, Deployment
from schemas.errors import ServerUnavailable, TransientFailure, WrongDeployment
from schemas.settings import Settings
from schemas.topics import Topic


class _Identity(Struct, frozen=True):
    id: str


class _Found(Struct, frozen=True):
    """Elasticsearch's answer to a request for a document."""

    source: _Identity = field(name="_source")


_ONLY: Final = 0
"""Key of the one row."""

_DOCUMENT: Final = "deployment"

_STORE_SINKS: Final = {"sink-message": Topic.TIMELINE, "sink-sync": Topic.SYNC}
_INDEX_SINKS: Final = {"sink-search": Topic.TIMELINE}


def store_id(session: Session, settings: Settings) -> str | None:
    """The id in the keyspace; None if it has none, or there is no such table or keyspace."""
    try:
        row = session.execute(
            f"SELECT id FROM {settings.keyspace}.deployment WHERE only = %s",  # noqa: S608 - a checked name
            (_ONLY,),
        ).one()
    except InvalidRequest:
        return None
    return None if row is None else str(row[0])


def check_store(session: Session, settings: Settings, deployment: Deployment) -> None:
    """Checks that the keyspace belongs to this deployment.

    Raises:
        WrongDeployment: The keyspace belongs to another deployment.
        TransientFailure: The keyspace has no identity: nothing is prepared yet.
    """
    _compare(f"keyspace {settings.keyspace}", store_id(session, settings), deployment)


def claim_store(session: Session, settings: Settings, deployment: Deployment) -> None:
    """Creates the missing keyspace and tables, and records the identity if there is none.

    Raises:
        WrongDeployment: The keyspace is of another deployment, or its data is gone.
        ConfigurationError: There is a table of an earlier version.
        ServerUnavailable: Kafka does not answer.
    """
    what = f"keyspace {settings.keyspace}"
    found = store_id(session, settings)
    if found is not None:
        _compare(what, found, deployment)
    create_tables(session, settings)
    if found is not None:
        return
    if session.execute("SELECT conv_id FROM conversation LIMIT 1").one() is not None:
        raise WrongDeployment(f"{what} has data, but of no recorded deployment; {WAY_OUT}")
    _require_unread(what, settings, _STORE_SINKS, deployment)
    session.execute(
        "INSERT INTO deployment (only, id) VALUES (%s, %s) IF NOT EXISTS", (_ONLY, deployment.id)
    )
    _compare(what, store_id(session, settings), deployment)


def index_id(client: Elasticsearch, settings: Settings) -> str | None:
    """The deployment's id in Elasticsearch; None if there is none.

    Raises:
        ServerUnavailable: Elasticsearch does not answer.
    """
    with _unavailable(settings):
        try:
            found = client.get(index=_index(settings), id=_DOCUMENT)
        except NotFoundError:
            return None
    try:
        return msgspec.convert(found.body, type=_Found).source.id
    except msgspec.ValidationError as error:
        where = settings.elasticsearch_url.rpartition("@")[2]
        raise ServerUnavailable(f"what answers at {where} is not Elasticsearch") from error


def check_index(client: Elasticsearch, settings: Settings, deployment: Deployment) -> None:
    """Checks that the index belongs to this deployment, and that its alias exists.

    Raises:
        WrongDeployment: The index belongs to another deployment.
        TransientFailure: There is no identity, or no alias: `im prepare` makes both.
        ServerUnavailable: Elasticsearch does not answer.
    """
    _compare(f"index {_index(settings)}", index_id(client, settings), deployment)
    with _unavailable(settings):
        if not client.indices.exists_alias(name=settings.index_alias):
            raise TransientFailure(
                f"alias {settings.index_alias} does not exist: `im prepare` puts it back"
            )


def claim_index(
    client: Elasticsearch, settings: Settings, deployment: Deployment, at: int
) -> None:
    """Creates the missing indices and alias, and records the identity if there is none.

    Args:
        client: A client.
        settings: The deployment.
        deployment: Its identity.
        at: The current time (ms). An index that is created is the index of this month.

    Raises:
        WrongDeployment: The index is of another deployment, or its data is gone.
        ConfigurationError: An index has another mapping, or too few copies.
        ServerUnavailable: Elasticsearch or Kafka does not answer.
    """
    what = f"index {_index(settings)}"
    found = index_id(client, settings)
    if found is not None:
        _compare(what, found, deployment)
    with _unavailable(settings):
        if not client.indices.exists_alias(name=settings.index_alias):
            _put_back_alias(client, settings, deployment, at)
        if found is None:
            _require_unread(what, settings, _INDEX_SINKS, deployment)
            _record(client, settings, deployment)
            _compare(what, index_id(client, settings), deployment)
    check_indices(client, settings)


def _record(client: Elasticsearch, settings: Settings, deployment: Deployment) -> None:
    """Writes the document, unless another process has written it before."""
    replicas = {"number_of_shards": 1, "number_of_replicas": settings.replication - 1}
    try:
        client.indices.create(index=_index(settings), settings=replicas)
    except BadRequestError as error:
        if error.error != "resource_already_exists_exception":
            raise
    with suppress(ConflictError):
        client.create(index=_index(settings), id=_DOCUMENT, document={"id": deployment.id})


def _put_back_alias(
    client: Elasticsearch, settings: Settings, deployment: Deployment, at: int
) -> None:
    pattern = f"{settings.index_alias}-*"
    if client.indices.get(index=pattern, allow_no_indices=True):
        client.indices.put_alias(index=pattern, name=settings.index_alias)
        return
    _require_unread(f"alias {settings.index_alias}", settings, _INDEX_SINKS, deployment)
    create_index(client, settings, at)


def _compare(what: str, found: str | None, deployment: Deployment) -> None:
    if found is None:
        raise TransientFailure(f"{what} belongs to no deployment yet: `im prepare` records it")
    if found != deployment.id:
        raise WrongDeployment(
            f"{what} belongs to deployment {found}, the topics to {deployment.id}; {WAY_OUT}"
        )


def _require_unread(
    what: str, settings: Settings, sinks: dict[str, Topic], deployment: Deployment
) -> None:
    """Raises `WrongDeployment` if a sink has already stored records of the log."""
    groups = [group for stage, topic in sinks.items() if (group := _read(settings, stage, topic))]
    if groups:
        raise WrongDeployment(
            f"{what} is empty, but {' and '.join(groups)} has already stored records of"
            f" deployment {deployment.id}; {WAY_OUT}"
        )


def _read(settings: Settings, stage: str, topic: Topic) -> str | None:
    """The group of a stage if the group has committed offsets, otherwise None."""
    admin, group = admin_client(settings), settings.group(stage)
    try:
        places = list(places_of(admin, settings, topic).values())
        committed = group_places(admin, group, places)
    except (KafkaException, TimeoutError) as error:
        raise ServerUnavailable(f"the commits of {group} cannot be read: {error}") from error
    return group if any(place.offset > 0 for place in committed) else None


def _index(settings: Settings) -> str:
    return f"{settings.namespace}-deployment"


@contextmanager
def _unavailable(settings: Settings) -> Iterator[None]:
    try:
        yield
    except (ApiError, TransportError) as error:
        raise ServerUnavailable(describe(settings, error)) from error
